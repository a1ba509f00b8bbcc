"""`featherbit evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ._show import console, table


class Which(StrEnum):
    """Which checkpoint of a run."""

    last = "last"
    selected = "selected"


class SplitName(StrEnum):
    """Which part of a run's data."""

    train = "train"
    validation = "validation"
    test = "test"


def evaluate(
    run_dir: Annotated[Path, typer.Argument(help="A run folder of `featherbit train`.")],
    which: Annotated[Which, typer.Option(help="The last epoch, or the one selected by validation.")] = Which.last,
    split: Annotated[SplitName, typer.Option(help="Which images.")] = SplitName.test,
    packed: Annotated[Path | None, typer.Option(help="Also evaluate this packed file on the same images.")] = None,
) -> None:
    """Measure the accuracy of a trained run and of its packed file."""
    from .. import train

    images = getattr(train.read_recipe(run_dir).data.load(), split.value)
    model = train.load_model(run_dir, which.value)
    rows = [(f"trained, {which.value}", train.evaluate(model, images.images, images.labels))]
    if packed is not None:
        from ..runtime import Session

        predicted = Session(packed).predict(images.images.numpy())
        rows.append((packed.name, 100.0 * float((predicted == images.labels.numpy()).mean())))
    title = f"{split.value} split, {len(images):,} images"
    console().print(table(title, ["network", ">accuracy"], [(name, f"{value:.2f} %") for name, value in rows]))
