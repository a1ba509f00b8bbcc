"""`featherbit explain`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._show import bytes_text, console, table

if TYPE_CHECKING:
    from rich.table import Table

    from ..runtime import LayerRow


def explain(
    file: Annotated[Path, typer.Argument(help="A packed network.")],
    isa: Annotated[str | None, typer.Option(help="Instruction set, see `featherbit kernels`.")] = None,
) -> None:
    """Print one line per layer: formats, shape, operations, bytes, kernel."""
    from ..runtime import Session

    console().print(layer_table(str(file), Session(file, isa=isa).explain()))
    console().print(f"{bytes_text(file.stat().st_size)} on disk")


def layer_table(title: str, layers: Sequence[LayerRow]) -> Table:
    """Return the table of a network's layers and their totals."""
    rows: list[tuple[object, ...]] = [
        (row.path, row.op, row.formats, row.shape, f"{row.operations:,}", f"{row.bytes:,}", row.kernel)
        for row in layers
    ]
    total = ("total", "", "", "", f"{sum(r.operations for r in layers):,}", f"{sum(r.bytes for r in layers):,}", "")
    return table(title, ["layer", "op", "formats", "shape", ">operations", ">bytes", "kernel"], [*rows, total])
