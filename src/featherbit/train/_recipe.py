"""The schema of a recipe: everything that decides what a training run computes, as frozen data.

A recipe is a data file (see `featherbit.recipes`); this module says which settings there are and what values they take.
Pydantic refuses what is unknown or out of range, so a run never starts from a setting that was silently ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .. import data
from ..models import ConvNet, Mlp
from ..optim import Interval, ScheduleKind
from ..quantizers import Sign, StochasticSign
from ._quantizers import ActivationKind, WeightKind, make_activation, make_weight_quantizer

_Rate = Annotated[float, Field(ge=0, lt=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Bits = Annotated[int, Field(ge=1, le=8)]
_Width = Annotated[int, Field(ge=1)]
_ACTIVATIONS = {"sign": Sign, "stochastic_sign": StochasticSign}


def _kind_or_mlp(value: Any) -> Any:
    """Let a model without `kind` be a perceptron, as it was when there was no other."""
    return {"kind": "mlp", **value} if isinstance(value, dict) else value


class Settings(BaseModel):
    """A group of settings: immutable, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MlpSettings(Settings):
    """The multi-layer perceptron `models.Mlp`."""

    kind: Literal["mlp"] = "mlp"
    hidden_features: int = Field(ge=1)
    hidden_layers: int = Field(ge=1)
    input_dropout: _Rate = 0.0
    hidden_dropout: _Rate = 0.0
    activation: Literal["sign", "stochastic_sign"] = "sign"
    window: _Positive | None = 1.0  # the straight-through window of activations

    def build(self, image_shape: tuple[int, ...], classes: int) -> Mlp:
        """Return the network with fresh weights, drawn from torch's global generator."""
        in_features = 1
        for size in image_shape:
            in_features *= size
        return Mlp(
            in_features,
            self.hidden_features,
            self.hidden_layers,
            classes,
            input_dropout=self.input_dropout,
            hidden_dropout=self.hidden_dropout,
            activation_quantizer=_ACTIVATIONS[self.activation](self.window),
        )


class ConvNetSettings(Settings):
    """The paper's convolutional network `models.ConvNet`, at any width and number of bits."""

    kind: Literal["convnet"]
    channels: tuple[_Width, ...] = Field((128, 256, 512), min_length=1)
    dense_features: tuple[_Width, ...] = (1024, 1024)
    weight: WeightKind = "linear"
    weight_bits: _Bits = 1
    activation: ActivationKind = "linear"
    activation_bits: _Bits = 1
    window: _Positive | None = 1.0  # the straight-through window of 1-bit activations

    def build(self, image_shape: tuple[int, ...], classes: int) -> ConvNet:
        """Return the network with fresh weights, drawn from torch's global generator."""
        return ConvNet(
            image_shape,
            classes,
            channels=self.channels,
            dense_features=self.dense_features,
            weight_quantizer=make_weight_quantizer(self.weight, self.weight_bits),
            activation=make_activation(self.activation, self.activation_bits, self.window),
        )


ModelSettings = Annotated[
    Annotated[MlpSettings | ConvNetSettings, Field(discriminator="kind")], BeforeValidator(_kind_or_mlp)
]


class DigitsSettings(Settings):
    """The embedded digits: `data.digits`."""

    kind: Literal["digits"]
    split_seed: int = 0
    validation_size: int = Field(180, ge=1)
    test_size: int = Field(360, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.digits(split_seed=self.split_seed, validation_size=self.validation_size, test_size=self.test_size)


class MnistSettings(Settings):
    """MNIST: `data.mnist`."""

    kind: Literal["mnist"]
    path: str | None = None
    download: bool = False
    validation_size: int = Field(10_000, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.mnist(self.path, download=self.download, validation_size=self.validation_size)


class IdxSettings(Settings):
    """Any set in four IDX files: `data.idx_folder`."""

    kind: Literal["idx"]
    path: str
    validation_size: int = Field(10_000, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.idx_folder(self.path, validation_size=self.validation_size)


class Cifar10Settings(Settings):
    """CIFAR-10: `data.cifar10`."""

    kind: Literal["cifar10"]
    path: str | None = None
    validation_size: int = Field(5_000, ge=1)
    checksums: bool = True

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.cifar10(self.path, validation_size=self.validation_size, checksums=self.checksums)


DataSettings = Annotated[DigitsSettings | MnistSettings | IdxSettings | Cifar10Settings, Field(discriminator="kind")]


class OptimizerSettings(Settings):
    """Adam, the rate scale of binary weights and their clipping."""

    kind: Literal["adam"] = "adam"
    learning_rate: _Positive
    beta1: _Rate = 0.9
    beta2: _Rate = 0.999
    epsilon: _Positive = 1e-8
    scale_learning_rate: bool = True  # gamma = 1 / sqrt(1.5 / (fan_in + fan_out)) for binary weights
    clip: _Positive = 1.0  # latent weights stay in [-clip, clip]


class ScheduleSettings(Settings):
    """How the learning rate falls: `optim.schedule`."""

    kind: ScheduleKind = "exponential"
    final_learning_rate: _Positive
    interval: Interval = "step"


class ExpectedResult(Settings):
    """What the recipe is known to reach; a record, used by no computation."""

    test_accuracy: Annotated[float, Field(ge=0, le=100)] | None = None  # percent, at the last epoch
    seconds: _Positive | None = None
    source: str = ""


class Recipe(Settings):
    """One experiment: model, data, optimizer, schedule and how long.

    `name`, `description` and `expected` do not change what is computed; everything else does.
    """

    name: str
    description: str = ""
    model: ModelSettings
    data: DataSettings
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
