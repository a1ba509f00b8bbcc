"""`featherbit bench`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ._bench_memory import print_memory
from ._show import console, milliseconds_text, table

if TYPE_CHECKING:
    from ..benchmarks import Budget, Case, Row, Setting


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CASE]...", help="Which cases, or patterns such as 'conv-*'; all but the sweeps unless given."
        ),
    ] = None,
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Threads of each contestant; give it twice for two runs. [default: 1 2]"),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    isa: Annotated[str | None, typer.Option(help="The instruction set of ours, see `featherbit kernels`.")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Aim for this long per case and number of threads.")] = 20.0,
    show_list: Annotated[bool, typer.Option("--list", help="List the cases and stop.")] = False,
    lce_python: Annotated[
        Path | None,
        typer.Option(envvar="FEATHERBIT_LCE_PYTHON", help="Python that has larq compute engine; `make lce` makes one."),
    ] = None,
    plot_folder: Annotated[
        Path | None, typer.Option("--plot", help="Draw latency against bits, batch and threads into this folder.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", help="Take the figures of this file of --json; measure nothing.")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure the peak memory of ours instead; a CASE may be a packed file.")
    ] = False,
) -> None:
    """Measure speed side by side with torch, ONNX Runtime and larq compute engine."""
    from .. import benchmarks

    counts = threads or _default_threads()
    if show_list:
        _print_cases()
    elif memory:
        print_memory(names or [], counts[0], isa, json_file)
    else:
        settings = [benchmarks.Setting(count, isa, lce_python=lce_python) for count in counts]
        rows: Sequence[Row]
        if from_file is not None:
            rows = benchmarks.read_json(from_file)
        else:
            rows = _measure(benchmarks.select(names or []), settings, benchmarks.Budget(seconds=seconds))
        console().print(table("ratio = peer's time / ours", _COLUMNS, [_cells(row) for row in rows]))
        _write(rows, json_file, plot_folder)


def _print_cases() -> None:
    from ..benchmarks import cases

    rows = [(case.name, case.description, "when named" if case.extra else "always") for case in cases().values()]
    console().print(table("benchmark cases", ["case", "what is computed", "runs"], rows))


def _write(rows: Sequence[Row], json_file: Path | None, plot_folder: Path | None) -> None:
    from .. import benchmarks

    written = []
    if json_file is not None:
        benchmarks.write_json(rows, json_file)
        written.append(json_file)
    if plot_folder is not None:
        written += benchmarks.plot(rows, plot_folder)
    for path in written:
        console().print(f"written: {path}")


_COLUMNS = ["case", ">threads", "peer", ">ratio", ">10 to 90 %", ">ours", ">peer", "isa", "note"]


def _default_threads() -> list[int]:
    return [1, 2] if (os.cpu_count() or 1) > 1 else [1]


def _measure(cases: Sequence[Case], settings: Sequence[Setting], budget: Budget) -> list[Row]:
    from ..benchmarks import run_case

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    rows: list[Row] = []
    with Progress(*columns, console=console()) as progress:
        for setting, case in itertools.product(settings, cases):
            name = f"{case.name}, {setting.threads} thread{'s' if setting.threads > 1 else ''}"
            task = progress.add_task(f"{name}: preparing", total=None)
            rows += run_case(case, setting, budget, partial(_advance, progress, task, name))
    return rows


def _advance(progress: Progress, task: TaskID, name: str, done: int, total: int) -> None:
    progress.update(task, description=name, completed=done, total=total)


def _cells(row: Row) -> tuple[object, ...]:
    head = (row.case, row.threads, row.peer)
    if row.ratio is None or row.ours_ms is None or row.peer_ms is None:
        return (*head, "skipped", None, None, None, row.isa, row.note)
    spread = f"{row.ratio_low:.2f} to {row.ratio_high:.2f}"
    times = (milliseconds_text(row.ours_ms), milliseconds_text(row.peer_ms))
    return (*head, f"{row.ratio:.2f}", spread, *times, row.isa, row.note)
