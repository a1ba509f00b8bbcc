"""The result of a run: accuracies, and everything needed to tell how they came about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..data import Dataset
from ..errors import DataError
from ._evaluate import evaluate
from ._machine import machine, source_commit
from ._recipe import Recipe
from ._run_folder import RESULT, Which, load_model


class Accuracies(BaseModel):
    """Accuracy of one checkpoint on each split, in percent, computed in float32."""

    model_config = ConfigDict(frozen=True)

    epoch: int  # counted from 0
    train: float
    validation: float
    test: float


class Result(BaseModel):
    """What a run reached, and how it came about.

    `last` is the last epoch, `selected` the first with the best validation accuracy; the test set selects nothing.
    """

    model_config = ConfigDict(frozen=True)

    recipe: str
    seed: int
    epochs: int
    last: Accuracies
    selected: Accuracies
    seconds: float  # of the epochs, validation included, writing of checkpoints not
    threads: int
    precision: str
    machine: dict[str, Any]
    source: dict[str, Any]

    def summary(self) -> str:
        """Return the test accuracies in one line."""
        return (
            f"{self.recipe} seed {self.seed}: test {self.last.test:.2f} % at the last epoch, "
            f"{self.selected.test:.2f} % at epoch {self.selected.epoch + 1} (validation-selected); {self.seconds:.0f} s"
        )


def measure(run_dir: Path, recipe: Recipe, dataset: Dataset, *, seconds: float, selected_epoch: int) -> Result:
    """Evaluate both checkpoints of a finished run on all splits.

    Args:
        run_dir: the run folder.
        recipe: what was run.
        dataset: its data.
        seconds: how long training took.
        selected_epoch: of the selected checkpoint, counted from 0.
    """
    return Result(
        recipe=recipe.name,
        seed=recipe.seed,
        epochs=recipe.epochs,
        last=_accuracies(run_dir, "last", dataset, recipe.epochs - 1),
        selected=_accuracies(run_dir, "selected", dataset, selected_epoch),
        seconds=round(seconds, 1),
        threads=recipe.threads,
        precision=recipe.precision,
        machine=machine(),
        source=source_commit(),
    )


def _accuracies(run_dir: Path, which: Which, dataset: Dataset, epoch: int) -> Accuracies:
    model = load_model(run_dir, which)
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return Accuracies(epoch=epoch, **{name: evaluate(model, s.images, s.labels) for name, s in splits.items()})


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
