"""The float network that the peers run: the blueprint's layer shapes, batch norm folded, ReLU between the layers.

It is what a user would deploy instead of ours, in the form that suits the peers best: ReLU costs them nothing after a
convolution, where a sign or a quantizer of k bits would be a pass of its own, and a residual network has its usual
shortcut around every two convolutions. Weights are random at a scale that keeps the activations near 1, so that
static int8 scales are as in real life. One list of nodes serves torch and ONNX Runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod

import numpy as np
from numpy.typing import NDArray

from ._blueprint import Block, Blueprint, Conv, Dense, Layer, Mean, Stem

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Convolve:
    """A convolution with bias, `weight` `[N, C, k, k]`."""

    inputs: tuple[str]
    output: str
    weight: Floats
    bias: Floats
    stride: int = 1
    padding: int = 0
    relu: bool = True


@dataclass(frozen=True)
class Multiply:
    """A fully connected layer with bias of everything in the input, `weight` `[N, K]`."""

    inputs: tuple[str]
    output: str
    weight: Floats
    bias: Floats
    relu: bool = True


@dataclass(frozen=True)
class MaxPool:
    """The maximum over windows."""

    inputs: tuple[str]
    output: str
    kernel: int
    stride: int
    padding: int = 0


@dataclass(frozen=True)
class AddRelu:
    """The sum of two values, then ReLU."""

    inputs: tuple[str, str]
    output: str


@dataclass(frozen=True)
class GlobalMean:
    """The mean over height and width: `[B, C]`."""

    inputs: tuple[str]
    output: str


Node = Convolve | Multiply | MaxPool | AddRelu | GlobalMean
SOURCE = "x"


def float_nodes(blueprint: Blueprint, seed: int) -> tuple[Node, ...]:
    """Return the network as nodes in order.

    The first reads `SOURCE`, the last gives the scores.

    Args:
        blueprint: its layers.
        seed: of the weights.
    """
    net = _Net(np.random.default_rng(seed), blueprint.image)
    for layer in blueprint.layers[:-1]:
        net.add(layer)
    net.add(blueprint.layers[-1], last=True)
    return tuple(net.nodes)


@dataclass
class _Net:
    rng: np.random.Generator
    shape: tuple[int, int, int]
    nodes: list[Node] = field(default_factory=list)

    @property
    def value(self) -> str:
        return self.nodes[-1].output if self.nodes else SOURCE

    @singledispatchmethod
    def add(self, layer: Layer, *, last: bool = False) -> None:
        raise NotImplementedError(type(layer).__name__)

    @add.register
    def _(self, layer: Conv, *, last: bool = False) -> None:
        self._convolve(layer.channels, layer.kernel)
        if layer.pool > 1:
            self._pool(layer.pool, layer.pool, 0)

    @add.register
    def _(self, layer: Stem, *, last: bool = False) -> None:
        self._convolve(layer.channels, layer.kernel, layer.stride)
        self._pool(3, 2, 1)

    @add.register
    def _(self, layer: Block, *, last: bool = False) -> None:
        source, shape = self.value, self.shape
        self._convolve(layer.channels, 3, layer.stride)
        branch = self._convolve(layer.channels, 3, relu=False)
        if layer.stride > 1 or shape[-1] != layer.channels:
            after = self.shape
            self.shape = shape
            source = self._convolve(layer.channels, 1, layer.stride, source=source, relu=False)
            self.shape = after
        self.nodes.append(AddRelu((branch, source), self._name()))

    @add.register
    def _(self, layer: Mean, *, last: bool = False) -> None:
        self.nodes.append(GlobalMean((self.value,), self._name()))
        self.shape = (1, 1, self.shape[-1])

    @add.register
    def _(self, layer: Dense, *, last: bool = False) -> None:
        fan_in = int(np.prod(self.shape))
        weight, bias = self._drawn((layer.features, fan_in), fan_in)
        self.nodes.append(Multiply((self.value,), self._name(), weight, bias, relu=not last))
        self.shape = (1, 1, layer.features)

    def _convolve(
        self, channels: int, kernel: int, stride: int = 1, *, source: str | None = None, relu: bool = True
    ) -> str:
        height, width, depth = self.shape
        weight, bias = self._drawn((channels, depth, kernel, kernel), depth * kernel * kernel)
        inputs, padding = (source or self.value,), kernel // 2
        self.nodes.append(Convolve(inputs, self._name(), weight, bias, stride, padding, relu))
        self.shape = (-(-height // stride), -(-width // stride), channels)
        return self.value

    def _pool(self, kernel: int, stride: int, padding: int) -> None:
        self.nodes.append(MaxPool((self.value,), self._name(), kernel, stride, padding))
        height, width, depth = self.shape
        self.shape = (height // stride, width // stride, depth)

    def _drawn(self, shape: tuple[int, ...], fan_in: int) -> tuple[Floats, Floats]:
        weight = self.rng.standard_normal(shape, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)
        return weight, self.rng.standard_normal(shape[0], dtype=np.float32) * np.float32(0.1)

    def _name(self) -> str:
        return f"y{len(self.nodes)}"
