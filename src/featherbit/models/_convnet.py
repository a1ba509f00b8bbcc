"""The paper's convolutional network."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

from torch import nn

from ..errors import InputError
from ..layers import FixedPointInput, QuantConv2d, QuantLinear
from ..quantizers import Sign


class ConvNet(nn.Sequential):
    """Pairs of 3 x 3 convolutions with pooling after each pair, then dense layers.

    Order: 8-bit input, then per convolution: convolution, [2 x 2 max pooling], batch norm, activation; flatten; per
    dense layer: linear, batch norm, activation; linear, batch norm. The pooling stands before the batch norm.

    Args:
        image_shape: channels, height and width of an image.
        classes: number of outputs.
        channels: width of each pair of convolutions, at least one.
        dense_features: width of each hidden dense layer.
        weight_quantizer: quantizes every weight, copied for each layer; by default the sign.
        activation: follows each hidden batch norm, copied for each; by default `Sign()`.

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
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__()
        depth, height, width = image_shape
        shrink = 2 ** len(channels)
        if not channels or min(height, width) < shrink:
            raise InputError(f"{len(channels)} poolings need images of {shrink} pixels a side, got {height} x {width}")
        weights = Sign(window=None) if weight_quantizer is None else weight_quantizer
        active = Sign() if activation is None else activation
        flat = channels[-1] * (height // shrink) * (width // shrink)
        self.add_module("input", FixedPointInput(bits=8))
        for name, module in _convolutions(depth, channels, weights, active):
            self.add_module(name, module)
        self.add_module("flatten", nn.Flatten())  # [B, C, H, W] -> [B, C * H * W]
        for name, module in _dense([flat, *dense_features, classes], 2 * len(channels) + 1, weights, active):
            self.add_module(name, module)


def _convolutions(
    depth: int, channels: Sequence[int], weights: nn.Module, active: nn.Module
) -> Iterator[tuple[str, nn.Module]]:
    for i, width in enumerate(channels):
        for n in (2 * i + 1, 2 * i + 2):
            quantizer = copy.deepcopy(weights)
            yield f"conv{n}", QuantConv2d(depth, width, 3, padding=1, bias=False, weight_quantizer=quantizer)
            if n % 2 == 0:
                yield f"pool{n}", nn.MaxPool2d(2)  # [B, C, H, W] -> [B, C, H // 2, W // 2]
            yield f"norm{n}", nn.BatchNorm2d(width, eps=1e-4, momentum=0.1)
            yield f"act{n}", copy.deepcopy(active)
            depth = width


def _dense(widths: Sequence[int], first: int, weights: nn.Module, active: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    last = len(widths) - 2
    for i in range(len(widths) - 1):
        quantizer = copy.deepcopy(weights)
        yield f"linear{first + i}", QuantLinear(widths[i], widths[i + 1], bias=False, weight_quantizer=quantizer)
        yield f"norm{first + i}", nn.BatchNorm1d(widths[i + 1], eps=1e-4, momentum=0.1)
        if i < last:
            yield f"act{first + i}", copy.deepcopy(active)
