"""The part of a recipe's schema that says which network."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from torch import nn

from ..errors import RecipeError
from ..models import Cell, ConvNet, LanguageModel, Mlp, NormKind, ResNet, VggSmall
from ..quantizers import Lsq, StraightThrough
from ._quantizers import (
    ActivationKind,
    EstimatorKind,
    GradientKind,
    GradientRounding,
    GradientScale,
    WeightKind,
    make_activation,
    make_estimator,
    make_gradient_quantizer,
    make_weight_quantizer,
)
from ._settings import Bits, Count, Positive, Rate, Settings


class LowBitSettings(Settings):
    """What weights, activations and gradients of a network are."""

    weight: WeightKind = "linear"
    weight_bits: Bits = 1
    activation: ActivationKind = "linear"
    activation_bits: Bits = 1
    window: Positive | None = 1.0  # of the gradient of a sign
    estimator: EstimatorKind = "straight_through"
    gradient_bits: Annotated[int, Field(ge=2, le=8)] | None = None  # None: float
    gradient_kind: GradientKind = "log"
    gradient_scale: GradientScale = "tensor"
    gradient_rounding: GradientRounding = "nearest"

    @model_validator(mode="after")
    def _possible(self) -> LowBitSettings:
        self.quantizers()
        return self

    def quantizers(self) -> dict[str, Any]:
        """Return the quantizers by the names that the networks' parameters have."""
        estimator = make_estimator(self.estimator, self.window)
        return {
            "weight_quantizer": make_weight_quantizer(self.weight, self.weight_bits),
            "activation": make_activation(self.activation, self.activation_bits, estimator),
            "gradient_quantizer": make_gradient_quantizer(
                self.gradient_bits, self.gradient_kind, self.gradient_scale, self.gradient_rounding
            ),
        }


class _ImageModelSettings(LowBitSettings):
    """A network that gives the classes of images scores."""

    def build(self, image_shape: tuple[int, ...], classes: int) -> nn.Module:
        """Return the network with fresh weights, drawn from torch's global generator."""
        raise NotImplementedError

    def build_for(self, facts: dict[str, Any]) -> nn.Module:
        """Return the network for the images that these facts, of a checkpoint, are about."""
        return self.build(tuple(facts["image_shape"]), facts["classes"])


class MlpSettings(_ImageModelSettings):
    """The multi-layer perceptron `models.Mlp`."""

    kind: Literal["mlp"] = "mlp"
    hidden_features: Count
    hidden_layers: Count
    input_dropout: Rate = 0.0
    hidden_dropout: Rate = 0.0
    activation: Literal["sign", "stochastic_sign", "linear", "log", "unsigned", "relu", "hardtanh"] = "sign"
    norm: NormKind = "batch"  # of the hidden layers

    def build(self, image_shape: tuple[int, ...], classes: int) -> Mlp:
        """Return the network with fresh weights, drawn from torch's global generator."""
        quantizers = self.quantizers()
        return Mlp(
            math.prod(image_shape),
            self.hidden_features,
            self.hidden_layers,
            classes,
            input_dropout=self.input_dropout,
            hidden_dropout=self.hidden_dropout,
            activation_quantizer=quantizers.pop("activation"),
            norm=self.norm,
            **quantizers,
        )


class ConvNetSettings(_ImageModelSettings):
    """The paper's convolutional network `models.ConvNet`.

    It has any width and number of bits.
    """

    kind: Literal["convnet"]
    channels: tuple[Count, ...] = Field((128, 256, 512), min_length=1)
    dense_features: tuple[Count, ...] = (1024, 1024)
    norm: NormKind = "batch"  # of the hidden layers

    def build(self, image_shape: tuple[int, ...], classes: int) -> ConvNet:
        """Return the network with fresh weights, drawn from torch's global generator."""
        return ConvNet(
            image_shape,
            classes,
            channels=self.channels,
            dense_features=self.dense_features,
            norm=self.norm,
            **self.quantizers(),
        )


class VggSmallSettings(_ImageModelSettings):
    """The network `models.VggSmall`."""

    kind: Literal["vgg-small"]
    channels: tuple[Count, ...] = Field((128, 256, 512), min_length=1)
    norm: NormKind = "batch"  # of the hidden layers

    def build(self, image_shape: tuple[int, ...], classes: int) -> VggSmall:
        """Return the network with fresh weights, drawn from torch's global generator."""
        return VggSmall(image_shape, classes, channels=self.channels, norm=self.norm, **self.quantizers())


class ResNetSettings(_ImageModelSettings):
    """The residual network `models.ResNet`."""

    kind: Literal["resnet"]
    widths: tuple[Count, ...] = Field((16, 32, 64), min_length=1)
    blocks: tuple[Count, ...] = Field((3, 3, 3), min_length=1)  # pairs of convolutions of each width
    stem: Literal["imagenet", "cifar"] = "cifar"

    @model_validator(mode="after")
    def _one_number_each(self) -> ResNetSettings:
        if len(self.widths) != len(self.blocks):
            raise ValueError("each of widths needs one of blocks")
        return self

    def build(self, image_shape: tuple[int, ...], classes: int) -> ResNet:
        """Return the network with fresh weights, drawn from torch's global generator.

        Raises:
            RecipeError: images without three dimensions.
        """
        if len(image_shape) != 3:
            raise RecipeError(f"model.kind resnet needs images [channels, height, width], got {list(image_shape)}")
        return ResNet(classes, self.widths, self.blocks, self.stem, image_channels=image_shape[0], **self.quantizers())


class LanguageSettings(LowBitSettings):
    """The recurrent language model `models.LanguageModel`."""

    kind: Literal["language"]
    cell: Cell = "lstm"
    nonlinearity: Literal["tanh", "relu"] = "tanh"  # of an RNN
    embedding_features: Count
    hidden_features: Count
    layers: Count = 1
    dropout: Rate = 0.0
    activation: Literal["sign", "linear", "log", "unsigned", "lsq", "dorefa", "float"] = "linear"

    def quantizers(self) -> dict[str, Any]:
        """Return the quantizers by name.

        A learned step is signed where states are, in [-1, 1], and starts where a fixed one stands. After a ReLU states
        reach 10: there it starts as after a batch norm, and codes from 0 on are for states, not for embeddings.
        """
        found = super().quantizers()
        is_signed = self.cell == "lstm" or self.nonlinearity == "tanh"
        if self.activation == "lsq" and is_signed:
            found["activation"] = Lsq(self.activation_bits, first_step=2.0 ** (1 - self.activation_bits))
        elif self.activation in ("lsq", "unsigned", "dorefa"):
            found["embedding"] = make_activation("linear", self.activation_bits, StraightThrough(self.window))
        return found

    def build(self, tokens: int) -> LanguageModel:
        """Return the network with fresh weights, drawn from torch's global generator."""
        quantizers = self.quantizers()
        return LanguageModel(
            tokens,
            self.embedding_features,
            self.hidden_features,
            self.layers,
            cell=self.cell,
            nonlinearity=self.nonlinearity,
            dropout=self.dropout,
            activation_quantizer=quantizers.pop("activation"),
            embedding_quantizer=quantizers.pop("embedding", None),
            **quantizers,
        )

    def build_for(self, facts: dict[str, Any]) -> LanguageModel:
        """Return the network for the vocabulary in these facts, of a checkpoint."""
        return self.build(len(facts["vocabulary"]))


def _kind_or_mlp(value: Any) -> Any:
    """Let a model without `kind` be a perceptron, as it was when there was no other."""
    return {"kind": "mlp", **value} if isinstance(value, dict) else value


ModelSettings = Annotated[
    Annotated[
        MlpSettings | ConvNetSettings | VggSmallSettings | ResNetSettings | LanguageSettings,
        Field(discriminator="kind"),
    ],
    BeforeValidator(_kind_or_mlp),
]
