"""`featherbit bench --memory`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from ..errors import InputError
from ._show import bytes_text, console, table

_COLUMNS = ["network", ">file", ">interpreter and library", ">loaded", ">peak", ">network's own peak"]
_PACKED = ".fbit"


def print_memory(names: Sequence[str], threads: int, isa: str | None, json_file: Path | None) -> None:
    """Measure and print the peak memory of running packed networks, one image a call.

    Args:
        names: of cases, patterns, or packed files.
        threads: of each session.
        isa: instruction set; None is the active one.
        json_file: where the figures are written too, if anywhere.
    """
    from ..benchmarks import measure_memory

    measured = {name: measure_memory(path, threads=threads, isa=isa) for name, path in _networks(names)}
    rows = []
    for name, memory in measured.items():
        sizes = (memory.file_bytes, memory.baseline_bytes, memory.loaded_bytes, memory.peak_bytes, memory.beyond_bytes)
        rows.append((name, *(bytes_text(size) for size in sizes)))
    console().print(table("resident memory, one image a call", _COLUMNS, rows))
    if json_file is not None:
        figures = [
            {"network": name, "threads": threads, **asdict(memory), "beyond_bytes": memory.beyond_bytes}
            for name, memory in measured.items()
        ]
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        console().print(f"written: {json_file}")


def _networks(names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield each network's name and file; those of cases are packed for as long as they are measured."""
    from .. import benchmarks
    from ..ir import save

    files = [name for name in names if name.endswith(_PACKED)]
    for name in files:
        yield name, Path(name)
    others = [name for name in names if name not in files]
    if names and not others:
        return
    cases = [case for case in benchmarks.select(others) if case.graph is not None]
    if not cases:
        raise InputError(f"none of {', '.join(others)} is a network; name a packed file ({_PACKED}) or another case")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            assert case.graph is not None
            path = Path(folder, f"{case.name}{_PACKED}")
            save(case.graph(), path)
            yield case.name, path
            path.unlink()
