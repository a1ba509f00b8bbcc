"""`featherbit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ._pack import float32_bytes, require_equality
from ._show import bytes_text, console, milliseconds_text, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from ..benchmarks import Comparison
    from ..runtime import Session

_RECIPE = "digits-mlp"


def demo(
    out: Annotated[Path, typer.Option(help="Where to put the run, the packed file and a picture.")] = Path("demo"),
    smoke: Annotated[bool, typer.Option("--smoke", help="Train for two epochs only.")] = False,
) -> None:
    """Train on digits, pack, check equality on the whole test set, measure."""
    from .. import ir, recipes, train
    from .. import pack as packer
    from ..runtime import Session
    from ._picture import save_picture

    recipe = recipes.load(_RECIPE, smoke=smoke)
    result = train.fit(recipe, out / "run", resume=False)
    model = cast("nn.Sequential", train.load_model(out / "run"))
    test = recipe.images().test
    file = out / f"{_RECIPE}.fbit"
    ir.save(packer.pack(model, test.images[:2], verify=False), file)
    compared, isas = _check_equality(model, file, test.images)
    session = Session(file)
    predicted = session.predict(test.images.numpy())
    accuracy = 100.0 * float((predicted == test.labels.numpy()).mean())
    rows = [
        (f"accuracy on {len(test)} test images", f"{result.last.test:.2f} %", f"{accuracy:.2f} %", ""),
        (f"numbers that differ, of {compared:,}", "", "0", f"each on {', '.join(isas)}"),
        _size_row(float32_bytes(model), file.stat().st_size),
        *_speed_rows(model, session, test.images),
    ]
    console().print(table("trained and packed", ["", ">torch float32", ">packed", ""], rows))
    save_picture(out / "digits.png", test.images.numpy(), test.labels.numpy(), predicted)
    console().print(f"packed network: {file}, picture: {out / 'digits.png'}; next: featherbit explain {file}")


def _check_equality(model: nn.Module, file: Path, images: Tensor) -> tuple[int, tuple[str, ...]]:
    """Return how many numbers were compared on each instruction set, and which sets these are."""
    from .. import ir, kernels
    from .. import pack as packer

    graph, compared = ir.load(file), 0
    for isa in kernels.available_isas():
        agreements = packer.verify(model, graph, images, isa=isa)
        require_equality(agreements)
        compared = sum(each.compared for each in agreements)
    return compared, kernels.available_isas()


def _size_row(before: int, after: int) -> tuple[str, str, str, str]:
    return ("bytes on disk", bytes_text(before), bytes_text(after), f"{before / after:.1f} x smaller")


def _speed_rows(model: nn.Sequential, session: Session, images: Tensor) -> Iterator[tuple[str, str, str, str]]:
    from ..benchmarks import Budget, compare_trained

    for count in (1, len(images)):
        label = "one image" if count == 1 else f"{count} images"
        speed: Comparison = compare_trained(model, session, images[:count], budget=Budget(seconds=3.0))
        times = milliseconds_text(speed.peer_ms), milliseconds_text(speed.ours_ms)
        yield (f"{label}, one thread", *times, f"{speed.ratio:.1f} x faster")
