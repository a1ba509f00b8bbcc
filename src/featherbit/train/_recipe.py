"""The schema of a recipe: everything that decides what a training run computes, as frozen data.

A recipe is a data file (see `featherbit.recipes`); this module says which settings there are and what values they take.
Pydantic refuses what is unknown or out of range, so a run never starts from a setting that was silently ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..optim import Interval, ScheduleKind
from ._data_settings import AugmentationSettings, DataSettings
from ._model_settings import ModelSettings
from ._settings import Positive, Rate, Settings


class OptimizerSettings(Settings):
    """Adam, the rate scale of latent weights and their clipping."""

    kind: Literal["adam"] = "adam"
    learning_rate: Positive
    beta1: Rate = 0.9
    beta2: Rate = 0.999
    epsilon: Positive = 1e-8
    scale_learning_rate: bool = True  # gamma = 1 / sqrt(1.5 / (fan_in + fan_out)) for latent weights
    clip: Positive = 1.0  # latent weights stay in their quantizer's range, [-1, 1] for one bit, times this


class ScheduleSettings(Settings):
    """How the learning rate falls: `optim.schedule`."""

    kind: ScheduleKind = "exponential"
    final_learning_rate: Positive
    interval: Interval = "step"


class ExpectedResult(Settings):
    """What the recipe is known to reach; a record, used by no computation."""

    test_accuracy: Annotated[float, Field(ge=0, le=100)] | None = None  # percent, at the last epoch
    seconds: Positive | None = None
    source: str = ""


class Recipe(Settings):
    """One experiment: model, data, optimizer, schedule and how long.

    `name`, `description` and `expected` do not change what is computed; everything else does.
    """

    name: str
    description: str = ""
    model: ModelSettings
    data: DataSettings
    augmentation: AugmentationSettings = AugmentationSettings()
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    batch_size: int = Field(ge=2)
    epochs: int = Field(ge=1)
    seed: int = Field(0, ge=0, lt=2**63)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"  # of training; evaluation is always float32
    accelerator: Literal["cpu", "gpu", "auto"] = "cpu"
    threads: int = Field(1, ge=1)  # changes the order of float sums, so it is a part of the recipe
    channels_last: bool = False  # memory order of images while training, likewise: faster convolutions on a CPU
    expected: ExpectedResult = ExpectedResult()
