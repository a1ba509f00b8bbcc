"""The paper's convolutional network."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence

from torch import nn

from ..errors import InputError
from ..layers import FixedPointInput, QuantConv2d, QuantLinear, set_gradient_quantizer
from ..quantizers import Sign
from ._norm import NormKind, make_norm

Parts = Iterator[tuple[str, nn.Module]]


class ConvNet(nn.Sequential):
    """Pairs of 3 x 3 convolutions with pooling after each pair, then dense layers.

    Order: 8-bit input, then per convolution: convolution, [2 x 2 max pooling], batch norm, activation; flatten; per
    dense layer: linear, batch norm, activation; linear, batch norm. The pooling stands before the batch norm. An
    activation quantizer with a scale of its own is the next layer's `input_quantizer` instead of a module.

    Args:
        image_shape: channels, height and width of an image.
        classes: number of outputs.
        channels: width of each pair of convolutions, at least one.
        dense_features: width of each hidden dense layer.
        weight_quantizer: quantizes every weight, copied for each layer; by default the sign.
        end_weight_quantizer: quantizes the weights of the first and the last layer instead; by default no other.
        activation: follows each hidden batch norm, copied for each; by default `Sign()`.
        gradient_quantizer: quantizes the gradient of every layer's output, copied for each; by default none.
        norm: of the hidden layers, `"batch"` or `"shift"`; the last layer's is an ordinary batch norm.

    Raises:
        InputError: no channels, or an image that is too small for the poolings.

    Source: the paper's CIFAR-10 network: 2 x 128C3 - MP2 - 2 x 256C3 - MP2 - 2 x 512C3 - MP2 - 2 x 1024 - 10, batch
    norm with eps 1e-4 and momentum 0.1.

    >>> [name for name, _ in ConvNet((3, 4, 4), 10, channels=[8], dense_features=[]).named_children()]
    ['input', 'conv1', 'norm1', 'act1', 'conv2', 'pool2', 'norm2', 'act2', 'flatten', 'linear3', 'norm3']
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        classes: int,
        *,
        channels: Sequence[int] = (128, 256, 512),
        dense_features: Sequence[int] = (1024, 1024),
        weight_quantizer: nn.Module | None = None,
        end_weight_quantizer: nn.Module | None = None,
        activation: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
        norm: NormKind = "batch",
    ) -> None:
        super().__init__()
        flat = _flat_features(image_shape, channels)
        weights = Sign(window=None) if weight_quantizer is None else weight_quantizer
        ends = weights if end_weight_quantizer is None else end_weight_quantizer
        active = Sign() if activation is None else activation
        self.add_module("input", FixedPointInput(bits=8))
        depths = [image_shape[0], *(width for width in channels for _ in range(2))]
        for name, module in _convolutions(depths, weights, ends, active, norm):
            self.add_module(name, module)
        self.add_module("flatten", nn.Flatten())  # [B, C, H, W] -> [B, C * H * W]
        for name, module in _dense([flat, *dense_features, classes], len(depths), weights, ends, active, norm):
            self.add_module(name, module)
        set_gradient_quantizer(self, gradient_quantizer)


def _flat_features(image_shape: Sequence[int], channels: Sequence[int]) -> int:
    """Return how many features are left after one pooling for each of `channels`.

    Raises:
        InputError: no channels, an image without three dimensions, or one that is too small.
    """
    shrink: int = 2 ** len(channels)
    if len(image_shape) != 3 or not channels or min(image_shape[1:]) < shrink:
        raise InputError(
            f"{len(channels)} poolings need images [channels, height, width] of at least {shrink} pixels a side, "
            f"got {list(image_shape)}"
        )
    return channels[-1] * (image_shape[1] // shrink) * (image_shape[2] // shrink)


def _convolutions(
    depths: Sequence[int], weights: nn.Module, first: nn.Module, active: nn.Module, norm: NormKind
) -> Parts:
    """Yield the convolutions between `depths`, pooling after each second one; `first` is of the first one's weights."""
    for n, (fan_in, fan_out) in enumerate(itertools.pairwise(depths), start=1):
        yield (
            f"conv{n}",
            QuantConv2d(
                fan_in,
                fan_out,
                3,
                padding=1,
                bias=False,
                input_quantizer=_scaled(active) if n > 1 else None,
                weight_quantizer=copy.deepcopy(first if n == 1 else weights),
            ),
        )
        if n % 2 == 0:
            yield f"pool{n}", nn.MaxPool2d(2)  # [B, C, H, W] -> [B, C, H // 2, W // 2]
        yield f"norm{n}", make_norm(norm, fan_out, images=True)
        if _scaled(active) is None:
            yield f"act{n}", copy.deepcopy(active)


def _dense(
    widths: Sequence[int], number: int, weights: nn.Module, end: nn.Module, active: nn.Module, norm: NormKind
) -> Parts:
    """Yield the linear layers between `widths`, numbered from `number`; `end` is of the last one's weights."""
    last = len(widths) - 2
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        yield (
            f"linear{number + i}",
            QuantLinear(
                fan_in,
                fan_out,
                bias=False,
                input_quantizer=_scaled(active),
                weight_quantizer=copy.deepcopy(end if i == last else weights),
            ),
        )
        yield f"norm{number + i}", make_norm("batch" if i == last else norm, fan_out)
        if i < last and _scaled(active) is None:
            yield f"act{number + i}", copy.deepcopy(active)


def _scaled(active: nn.Module) -> nn.Module | None:
    """Return a copy of a quantizer with a scale of its own, which a layer must see."""
    return copy.deepcopy(active) if hasattr(active, "codes") else None
