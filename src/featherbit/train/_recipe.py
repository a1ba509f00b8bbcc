"""The schema of a recipe: everything that decides what a training run computes, as frozen data.

A recipe is a data file (see `featherbit.recipes`); this module says which settings there are and what values they take.
Pydantic refuses what is unknown or out of range, so a run never starts from a setting that was silently ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..data import Corpus, Dataset
from ..errors import RecipeError
from ._data_settings import AugmentationSettings, DataSettings, TextSettings
from ._metric import METRICS, MetricName
from ._model_settings import LanguageSettings, ModelSettings
from ._optimizer_settings import OptimizerSettings, ScheduleSettings, WideningSettings
from ._settings import Positive, Settings


class ExpectedResult(Settings):
    """What the recipe is known to reach; a record, used by no computation."""

    test_accuracy: Annotated[float, Field(ge=0, le=100)] | None = None  # percent, at the last epoch
    test_perplexity: Positive | None = None  # likewise
    test_bits_per_character: Positive | None = None
    seconds: Positive | None = None
    source: str = ""

    @property
    def figure(self) -> str | None:
        """The expected figure in print; None without one."""
        values: dict[MetricName, float | None] = {
            "accuracy": self.test_accuracy,
            "perplexity": self.test_perplexity,
            "bits_per_character": self.test_bits_per_character,
        }
        known = ((METRICS[name], value) for name, value in values.items() if value is not None)
        return next(
            (f"{metric.text(value)}{'' if metric.unit else f' {metric.label}'}" for metric, value in known), None
        )


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
    widening: WideningSettings | None = None  # a second stage, within these epochs
    seed: int = Field(0, ge=0, lt=2**63)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"  # of training; evaluation is always float32
    accelerator: Literal["cpu", "gpu", "auto"] = "cpu"
    threads: int = Field(1, ge=1)  # changes the order of float sums, so it is a part of the recipe
    channels_last: bool = False  # memory order of images while training, likewise: faster convolutions on a CPU
    expected: ExpectedResult = ExpectedResult()

    @field_validator("widening")
    @classmethod
    def _leaves_epochs(cls, widening: WideningSettings | None, info: ValidationInfo) -> WideningSettings | None:
        epochs = info.data.get("epochs")  # missing where it was refused itself
        if widening is not None and epochs is not None and widening.after_epochs >= epochs:
            raise ValueError(f"after_epochs must leave some of the {epochs} epochs")
        return widening

    @model_validator(mode="after")
    def _model_fits_data(self) -> Recipe:
        is_text = isinstance(self.data, TextSettings)
        if is_text != isinstance(self.model, LanguageSettings):
            kind = "text, for model.kind language" if is_text else "images, for another model.kind"
            raise ValueError(f"data.kind {self.data.kind} is {kind}; model.kind is {self.model.kind}")
        if is_text and (self.channels_last or self.augmentation != AugmentationSettings()):
            raise ValueError("augmentation and channels_last are for images; leave them out with text")
        return self

    @property
    def is_text(self) -> bool:
        """Whether its data is text, not images."""
        return isinstance(self.data, TextSettings)

    def images(self) -> Dataset:
        """Load the recipe's images.

        Raises:
            RecipeError: its data is text.
            DataError: the data is missing or damaged.
        """
        if isinstance(self.data, TextSettings):
            raise RecipeError(f"{self.name} is about text, data.kind {self.data.kind}; images are needed here")
        return self.data.load()

    def corpus(self) -> Corpus:
        """Load the recipe's text.

        Raises:
            RecipeError: its data is images.
            DataError: the data is missing or damaged.
        """
        if not isinstance(self.data, TextSettings):
            raise RecipeError(f"{self.name} is about images, data.kind {self.data.kind}; text is needed here")
        return self.data.load()
