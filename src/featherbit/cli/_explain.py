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
    """Print one line per layer: formats, shape, operations, bytes, kernel and why."""
    from ..ir import load
    from ..runtime import explain as explain_graph

    console().print(layer_table(str(file), explain_graph(load(file), isa)))
    console().print(f"{bytes_text(file.stat().st_size)} on disk")


def layer_table(title: str, layers: Sequence[LayerRow]) -> Table:
    """Return the table of a network's layers and their totals."""
    rows: list[tuple[object, ...]] = [
        (row.layer, row.op, row.formats, list(row.shape), *_counts([row]), row.kernel, row.storage, row.reason)
        for row in layers
    ]
    columns = ["layer", "op", "formats", "shape", ">multiply-adds", ">bytes", ">as float32", "kernel", "kept as", "why"]
    made = table(title, columns, [*rows, ("total", "", "", "", *_counts(layers), "", "", "")])
    for column in made.columns[:-1]:
        column.no_wrap = True  # a layer stays one line; only the reason may take more
    return made


def _counts(layers: Sequence[LayerRow]) -> tuple[str, str, str]:
    totals = (sum(getattr(row, name) for row in layers) for name in ("operations", "weight_bytes", "float_bytes"))
    operations, packed, real = (f"{total:,}" for total in totals)
    return operations, packed, real
