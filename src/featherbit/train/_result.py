"""The result of a run: figures, and everything needed to tell how they came about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError
from ._machine import machine, source_commit
from ._metric import ACCURACY, METRICS, Metric, MetricName
from ._recipe import Recipe
from ._run_folder import RESULT, Which, load_model
from ._task import Task


class Figures(BaseModel):
    """The metric of one checkpoint on each split, computed in float32.

    Of a training text, which is long, as many tokens as the validation text has are measured, from its beginning.
    """

    model_config = ConfigDict(frozen=True)

    epoch: int  # counted from 0
    train: float
    validation: float
    test: float


class Result(BaseModel):
    """What a run reached, and how it came about.

    `last` is the last epoch, `selected` the first that was best on the validation split; the test set selects nothing.
    """

    model_config = ConfigDict(frozen=True)

    recipe: str
    seed: int
    epochs: int
    last: Figures
    selected: Figures
    metric: MetricName = "accuracy"  # accuracy in percent
    seconds: float  # of the epochs, validation included, writing of checkpoints not
    threads: int
    precision: str
    machine: dict[str, Any]
    source: dict[str, Any]

    @property
    def measured(self) -> Metric:
        """What the figures are."""
        return METRICS[self.metric]

    def summary(self) -> str:
        """Return the figures of the test split in one line."""
        text = self.measured.text
        name = "" if self.measured is ACCURACY else f"{self.measured.label} "
        return (
            f"{self.recipe} seed {self.seed}: test {name}{text(self.last.test)} at the last epoch, "
            f"{text(self.selected.test)} at epoch {self.selected.epoch + 1} (validation-selected); {self.seconds:.0f} s"
        )


def measure(run_dir: Path, recipe: Recipe, task: Task, *, seconds: float, selected_epoch: int) -> Result:
    """Evaluate both checkpoints of a finished run on all splits.

    Args:
        run_dir: the run folder.
        recipe: what was run.
        task: its data.
        seconds: how long training took.
        selected_epoch: of the selected checkpoint, counted from 0.
    """
    last = _figures(run_dir, "last", task, recipe.epochs - 1)
    is_last = selected_epoch == last.epoch
    return Result(
        recipe=recipe.name,
        seed=recipe.seed,
        epochs=recipe.epochs,
        last=last,
        selected=last if is_last else _figures(run_dir, "selected", task, selected_epoch),
        metric=task.metric.name,
        seconds=round(seconds, 1),
        threads=recipe.threads,
        precision=recipe.precision,
        machine=machine(),
        source=source_commit(),
    )


def _figures(run_dir: Path, which: Which, task: Task, epoch: int) -> Figures:
    model = load_model(run_dir, which)
    return Figures(epoch=epoch, **{split: task.measure(model, split) for split in task.splits})


def read_result(run_dir: str | Path) -> Result:
    """Return the result of a finished run.

    Raises:
        DataError: the run is not finished, or its result is damaged.
    """
    path = Path(run_dir, RESULT)
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{run_dir} holds no finished run: {error}") from error
    except ValidationError as error:
        raise DataError(f"{path} is damaged or from another version: {error}; delete it and train again") from error
