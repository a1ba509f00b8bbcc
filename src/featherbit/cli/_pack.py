"""`featherbit pack`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import PackError
from ._evaluate import Which
from ._explain import layer_table
from ._show import bytes_text, console, table
from ._text import vocabulary_path

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from ..pack import Agreement

_STEPS = 20  # of each stream of a text that is compared: a state is handed on so often


def pack(
    run_dir: Annotated[Path, typer.Argument(help="A run folder of `featherbit train`.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file; RUN_DIR.fbit unless given.")] = None,
    which: Annotated[Which, typer.Option(help="The last epoch, or the one selected by validation.")] = Which.last,
    images: Annotated[
        int, typer.Option(min=1, help="On how many test images, or tokens of a text, to compare every value.")
    ] = 1000,
) -> None:
    """Pack a trained run into a file; compare every value with the trained one."""
    from .. import ir, train
    from .. import pack as packer
    from ..runtime import explain as explain_graph

    model, recipe = train.load_model(run_dir, which.value), train.read_recipe(run_dir)
    if recipe.is_text:
        inputs = _streams(recipe.corpus().test, images)
        what = f"{inputs.numel():,} tokens of the test text in {inputs.shape[1]:,} streams"
    else:
        inputs = recipe.images().test.images[:images]
        what = f"{len(inputs):,} test images"
    graph = packer.pack(model, inputs[:2], verify=False)
    path = output or run_dir.with_name(f"{run_dir.resolve().name}.fbit")
    console().print(layer_table(str(path), explain_graph(graph)))
    agreements = packer.verify(model, graph, inputs)
    title = f"packed against trained, {what}"
    rows = [(each.path, each.value, f"{each.compared:,}", f"{each.mismatches:,}") for each in agreements]
    console().print(table(title, ["layer", "value", ">compared", ">different"], rows))
    require_equality(agreements)
    ir.save(graph, path)
    if recipe.is_text:
        train.load_vocabulary(run_dir).save(vocabulary_path(path))
    size, before = path.stat().st_size, float32_bytes(model)
    console().print(f"{path}: {bytes_text(size)}, {before / size:.1f} times smaller than {bytes_text(before)} float32")


def _streams(tokens: Tensor, count: int) -> Tensor:
    """Return tokens of a text as short streams side by side, `[T, B]`."""
    steps = min(_STEPS, len(tokens))
    streams = max(1, min(count, len(tokens)) // steps)
    return tokens[: steps * streams].view(streams, steps).T.contiguous()


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
