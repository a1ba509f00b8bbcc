"""Our side of a convolutional benchmark: a blueprint as a packed graph, op for op as `pack` writes `models`' networks.

Chains hold codes of the activations' width between their layers, in the paper's formats: 1 bit is a sign, more bits are
signed numbers, stored as codes with a zero point. Residual networks are those of `models.ResNet`: a shortcut around
every convolution in real values, 8-bit first and last layers and shortcuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatchmethod

import numpy as np

from .. import ir
from ._blueprint import Block, Blueprint, Conv, Dense, Layer, Mean, Stem
from ._drawing import BYTE_BITS, BYTE_ZERO, Drawing, zero_point_of

_TO_UNIT = 2.0**-3  # real values are divided by 8 before they become bytes


@dataclass(frozen=True)
class Widths:
    """How many bits the layers of ours have.

    Args:
        weight_bits: 1 to 8.
        activation_bits: 1 to 8.

    >>> str(Widths(1, 2))
    'w1a2'
    """

    weight_bits: int = 1
    activation_bits: int = 1

    def __str__(self) -> str:
        return f"w{self.weight_bits}a{self.activation_bits}"


def to_graph(blueprint: Blueprint, widths: Widths, seed: int) -> ir.Graph:
    """Return a packed network of that shape.

    Args:
        blueprint: its layers.
        widths: bits of its weights and activations.
        seed: of everything drawn.

    Returns:
        A graph from uint8 pixels `[C, H, W]`, or from float32 or uint8 activations `[H, W, C]` where the blueprint does
        not begin with raw pixels, to float32 `[features]`.
    """
    net = _Net(np.random.default_rng(seed), widths=widths)
    net.begin(blueprint)
    for layer in blueprint.layers[:-1]:
        net.add(layer)
    net.end(blueprint.layers[-1])
    return ir.Graph(tuple(net.ops), net.value)


@dataclass
class _Net(Drawing):
    """The layers of a blueprint, one after the other."""

    widths: Widths = Widths()

    def begin(self, blueprint: Blueprint) -> None:
        """Put the input: pixels, or activations as codes."""
        height, width, channels = blueprint.image
        if blueprint.raw:
            self.put(ir.Input, shape=(channels, height, width), dtype="uint8")
            self.put(ir.ChannelsLast)
            self.zero_point = BYTE_ZERO
            return
        count = self.widths.activation_bits
        self.put(ir.Input, shape=blueprint.image, dtype="uint8" if count == BYTE_BITS else "float32")
        self.zero_point = zero_point_of(count)
        if count == 1:
            self.put(ir.PackSign)
        elif count < BYTE_BITS:
            self.put(ir.QuantizeLinear, bits=count)

    @singledispatchmethod
    def add(self, layer: Layer) -> None:
        """Put a layer and what makes its codes or real numbers."""
        raise NotImplementedError(type(layer).__name__)

    @add.register
    def _(self, layer: Conv) -> None:
        self.convolve(layer.channels, layer.kernel, 1, layer.weight_bits or self.widths.weight_bits)
        if layer.pool > 1:
            self.put(ir.MaxPool2d, kernel=(layer.pool,) * 2, stride=(layer.pool,) * 2)
        self.quantize(self.widths.activation_bits)

    @add.register
    def _(self, layer: Dense) -> None:
        self.multiply(layer.features, layer.weight_bits or self.widths.weight_bits)
        self.quantize(self.widths.activation_bits)

    @add.register
    def _(self, layer: Stem) -> None:
        self.convolve(layer.channels, layer.kernel, layer.stride, BYTE_BITS)
        self.put(ir.MaxPool2d, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))

    @add.register
    def _(self, layer: Block) -> None:
        for stride in (layer.stride, 1):
            source = self.value
            self._sign(source)
            product = self.convolve(layer.channels, 3, stride, self.widths.weight_bits)
            if stride > 1:
                other = self._shrink(source, layer.channels, stride)
                branch, shortcut = self.norm(product), self.norm(other)
            else:
                branch, shortcut = self.norm(product), self._real(source)
            self.put(ir.AddReal, branch, shortcut)
            self._rprelu()

    @add.register
    def _(self, layer: Mean) -> None:
        self.scale(self.value, _TO_UNIT)
        self.zero_point = 0
        self.put(ir.QuantizeLinear, bits=BYTE_BITS, step=2.0**-BYTE_BITS, low=0)
        self.mean(*self.shape[:2], whole=True)

    def end(self, layer: Layer) -> None:
        """Put the last layer, which gives float32 scores."""
        if isinstance(layer, Mean):
            height, width, _ = self.shape
            self.put(ir.SumPool2d, kernel=(height, width), zero_point=self.zero_point)
            self.put(ir.Flatten)
        else:
            assert isinstance(layer, Dense)
            self.multiply(layer.features, layer.weight_bits or self.widths.weight_bits)
        self.norm(self.value)

    def _sign(self, source: str) -> None:
        """Put the sign of a shifted value: a threshold where it is a sum."""
        self.zero_point = 0
        if self.types[source].element == "int32":
            self.quantize(1, source)
        else:
            self.shift(source)
            self.put(ir.PackSign)

    def _real(self, source: str) -> str:
        """Put batch norm and RPReLU where the value is still a sum."""
        if self.types[source].element != "int32":
            return source
        self.norm(source)
        return self._rprelu()

    def _shrink(self, source: str, channels: int, stride: int) -> str:
        """Put a shortcut to another size: bytes, their mean over a square, an 8-bit 1x1 product."""
        self.scale(source, _TO_UNIT)
        self.zero_point = BYTE_ZERO
        self.put(ir.QuantizeLinear, bits=BYTE_BITS, step=1 / BYTE_ZERO, low=-BYTE_ZERO)
        self.mean(stride, stride)
        return self.convolve(channels, 1, 1, BYTE_BITS)

    def _rprelu(self) -> str:
        slope = self.rng.uniform(0.1, 0.4, self.shape[-1]).astype(np.float32)
        self.shift(self.value)
        self.put(ir.PRelu, slope=slope)
        return self.shift(self.value)
