"""`featherbit pack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import PackError
from ._evaluate import Which
from ._explain import layer_table
from ._show import bytes_text, console, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from ..pack import Agreement


def pack(
    run_dir: Annotated[Path, typer.Argument(help="A run folder of `featherbit train`.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file; RUN_DIR.fbit unless given.")] = None,
    which: Annotated[Which, typer.Option(help="The last epoch, or the one selected by validation.")] = Which.last,
    images: Annotated[int, typer.Option(min=1, help="On how many test images to compare every value.")] = 1000,
) -> None:
    """Pack a trained run into a file; compare every value with the trained one."""
    from .. import ir, train
    from .. import pack as packer
    from ..runtime import explain as explain_graph

    model = train.load_model(run_dir, which.value)
    inputs = train.read_recipe(run_dir).images().test.images[:images]
    graph = packer.pack(model, inputs[:2], verify=False)
    path = output or run_dir.with_name(f"{run_dir.resolve().name}.fbit")
    console().print(layer_table(str(path), explain_graph(graph)))
    agreements = packer.verify(model, graph, inputs)
    title = f"packed against trained, {len(inputs):,} test images"
    rows = [(each.path, each.value, f"{each.compared:,}", f"{each.mismatches:,}") for each in agreements]
    console().print(table(title, ["layer", "value", ">compared", ">different"], rows))
    require_equality(agreements)
    ir.save(graph, path)
    size, before = path.stat().st_size, float32_bytes(model)
    console().print(f"{path}: {bytes_text(size)}, {before / size:.1f} times smaller than {bytes_text(before)} float32")


def require_equality(agreements: Iterable[Agreement]) -> None:
    """Refuse a packed network that differs from the trained one.

    Raises:
        PackError: the first value that differs, and on how many numbers.
    """
    for each in agreements:
        if each.mismatches:
            raise PackError(each.path or each.value, f"{each.mismatches:,} of {each.compared:,} numbers differ")


def float32_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and statistics of a model take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
