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
    packed: Annotated[Path | None, typer.Option(help="Also evaluate this packed file on the same data.")] = None,
) -> None:
    """Measure a trained run, and its packed file."""
    from .. import train
    from ..runtime import Session

    session = None if packed is None else Session(packed)  # refuses a wrong file before the work
    task = train.read_recipe(run_dir).data.task()
    text = task.metric.text
    rows = [(f"trained, {which.value}", text(task.measure(train.load_model(run_dir, which.value), split.value)))]
    if packed is not None and session is not None:
        rows.append((packed.name, text(task.measure_packed(session, split.value))))
    console().print(table(task.describe(split.value), ["network", f">{task.metric.label}"], rows))
