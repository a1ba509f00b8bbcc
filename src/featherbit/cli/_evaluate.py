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
    split: Annotated[SplitName, typer.Option(help="Which part of the data.")] = SplitName.test,
    packed: Annotated[Path | None, typer.Option(help="Also evaluate this packed file on the same images.")] = None,
) -> None:
    """Measure a trained run, and its packed file where it classifies images."""
    from .. import train

    recipe = train.read_recipe(run_dir)
    images = None if packed is None else getattr(recipe.images(), split.value)  # refuses text before the work
    task = recipe.data.task()
    text = task.metric.text
    rows = [(f"trained, {which.value}", text(task.measure(train.load_model(run_dir, which.value), split.value)))]
    if packed is not None and images is not None:
        from ..runtime import Session

        predicted = Session(packed).predict(images.images.numpy())
        rows.append((packed.name, text(100.0 * float((predicted == images.labels.numpy()).mean()))))
    console().print(table(task.describe(split.value), ["network", f">{task.metric.label}"], rows))
