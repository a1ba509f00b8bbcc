"""Our side of a convolutional benchmark: a blueprint as a packed graph with random weights.

Weights and thresholds are drawn so that codes are spread and no sum passes 2^24. Chains hold codes of the activations'
width between their layers, with the paper's formats: 1 bit is a sign, more bits are signed numbers, stored as codes
with a zero point. Residual networks are Bi-Real: sign, binary convolution, batch norm, shortcut around every
convolution, RPReLU, with an 8-bit first and last layer and 8-bit 1x1 convolutions in the shortcuts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatchmethod

import numpy as np
from numpy.typing import NDArray

from .. import bits, ir
from ._blueprint import Block, Blueprint, Conv, Dense, Layer, Mean, Stem

BYTE_BITS = 8
PIXEL_ZERO = 128
REAL_STEP = 2.0**-4
Floats = NDArray[np.float32]


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
    net = _Net(widths, np.random.default_rng(seed))
    net.begin(blueprint)
    for layer in blueprint.layers[:-1]:
        net.add(layer)
    net.end(blueprint.layers[-1])
    return ir.Graph(tuple(net.ops), net.value)


@dataclass
class _Net:
    """A graph under construction; `value` is the last value, which the next layer reads."""

    widths: Widths
    rng: np.random.Generator
    ops: list[ir.Op] = field(default_factory=list)
    types: dict[str, ir.ValueType] = field(default_factory=dict)
    zero_point: int = 0
    path: str = ""

    @property
    def value(self) -> str:
        return self.ops[-1].output

    @property
    def shape(self) -> tuple[int, ...]:
        return self.types[self.value].shape

    def put(self, kind: type[ir.Op], *inputs: str, **fields: object) -> str:
        """Append an op that reads the last value unless told otherwise; return its value's name."""
        sources = inputs or ((self.value,) if self.ops else ())
        if kind is ir.Input:
            sources = ()
        op = kind(sources, f"v{len(self.ops)}", self.path, **fields)
        self.ops.append(op)
        self.types[op.output] = op.infer(*(self.types[name] for name in sources))
        return op.output

    def begin(self, blueprint: Blueprint) -> None:
        """Put the input: pixels, or activations as codes."""
        height, width, channels = blueprint.image
        if blueprint.raw:
            self.put(ir.Input, shape=(channels, height, width), dtype="uint8")
            self.put(ir.ChannelsLast)
            self.zero_point = PIXEL_ZERO
            return
        count = self.widths.activation_bits
        self.put(ir.Input, shape=blueprint.image, dtype="uint8" if count == BYTE_BITS else "float32")
        self.zero_point = _zero_point(count)
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
        self._convolve(layer.channels, layer.kernel, 1, self.widths.weight_bits)
        if layer.pool > 1:
            self.put(ir.MaxPool2d, kernel=(layer.pool,) * 2, stride=(layer.pool,) * 2)
        self._quantize()

    @add.register
    def _(self, layer: Dense) -> None:
        self._multiply(layer.features, self.widths.weight_bits)
        self._quantize()

    @add.register
    def _(self, layer: Stem) -> None:
        self._convolve(layer.channels, layer.kernel, layer.stride, BYTE_BITS)
        self._norm()
        self.put(ir.MaxPool2d, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))

    @add.register
    def _(self, layer: Block) -> None:
        for stride in (layer.stride, 1):
            source = self.value
            self.zero_point = 0
            self.put(ir.PackSign)
            self._convolve(layer.channels, 3, stride, 1)
            branch = self._norm()
            self.put(ir.AddReal, branch, self._shortcut(source, layer.channels, stride))
            self._rprelu()

    @add.register
    def _(self, layer: Mean) -> None:
        height, width, channels = self.shape
        self._to_bytes()
        self.put(ir.SumPool2d, kernel=(height, width), zero_point=self.zero_point)
        self.put(ir.Flatten)
        scale = np.full(channels, REAL_STEP / (height * width), dtype=np.float32)
        self.put(ir.Affine, multiplier=scale, addend=np.full_like(scale, -0.0), fused=False)
        self._to_bytes()

    def end(self, layer: Layer) -> None:
        """Put the last layer, which gives float32 scores."""
        if isinstance(layer, Mean):
            height, width, _ = self.shape
            self.put(ir.SumPool2d, kernel=(height, width), zero_point=self.zero_point)
            self.put(ir.Flatten)
        else:
            assert isinstance(layer, Dense)
            residual = any(isinstance(op, ir.AddReal) for op in self.ops)
            self._multiply(layer.features, BYTE_BITS if residual else self.widths.weight_bits)
        self._norm()

    def _convolve(self, channels: int, kernel: int, stride: int, weight_bits: int) -> None:
        fan_in = kernel * kernel * self.shape[-1]
        self.put(
            ir.Conv2d,
            **self._weight(channels, fan_in, weight_bits),
            in_channels=self.shape[-1],
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(kernel // 2,) * 4,
        )

    def _multiply(self, features: int, weight_bits: int) -> None:
        if len(self.shape) > 1:
            self.put(ir.Flatten)
        (fan_in,) = self.shape
        self.put(ir.Linear, **self._weight(features, fan_in, weight_bits), in_features=fan_in)

    def _weight(self, channels: int, fan_in: int, count: int) -> dict[str, object]:
        largest = self.types[self.value].magnitude(self.zero_point)
        weight = random_weight(self.rng, (channels, fan_in), count, largest)
        encoding: bits.WeightEncoding = "sign" if count == 1 else "twos_complement"
        words = bits.pack_weight(weight, count, encoding)
        return {"weight": words, "weight_bits": count, "weight_encoding": encoding, "zero_point": self.zero_point}

    def _quantize(self) -> None:
        """Put thresholds as batch norm and the quantizer make them, half of the channels flipped."""
        channels, count = self.shape[-1], self.widths.activation_bits
        flips = bits.pack_sign(self.rng.integers(0, 2, channels) * 2 - 1)
        spread = self._deviation()
        center = self.rng.normal(0.0, spread / 2, (channels, 1))
        steps = np.arange(2**count - 1) - (2 ** (count - 1) - 1)  # [2^count - 1], 0 in the middle
        thresholds = np.rint(center + steps * max(1.0, 4 * spread / 2**count)).astype(np.int32)
        if count == 1:
            self.put(ir.Threshold, thresholds=thresholds[:, 0], flips=flips)
        else:
            self.put(ir.MultiThreshold, bits=count, thresholds=thresholds, flips=flips)
        self.zero_point = _zero_point(count)

    def _norm(self) -> str:
        """Put a batch norm of integers whose result has a deviation of about 1."""
        channels = self.shape[-1]
        gain = self.rng.uniform(0.5, 1.5, channels) * self.rng.choice([-1.0, 1.0], channels) / self._deviation()
        addend = self.rng.normal(0.0, 0.5, channels)
        return self.put(ir.Affine, multiplier=gain.astype(np.float32), addend=addend.astype(np.float32), fused=False)

    def _deviation(self) -> float:
        """Return about how far the sums of the last product lie from zero."""
        op = next(op for op in reversed(self.ops) if isinstance(op, ir.Conv2d | ir.Linear | ir.SumPool2d))
        largest = self.types[op.inputs[0]].magnitude(op.zero_point)
        mean_square = 1.0 if largest == 1 else largest**2 / 3
        if isinstance(op, ir.SumPool2d):
            return float((op.kernel[0] * op.kernel[1] * mean_square) ** 0.5)
        weight = op.integer_weight()[:64].astype(np.float64)
        return float((np.square(weight).sum(axis=1).mean() * mean_square) ** 0.5)

    def _shortcut(self, source: str, channels: int, stride: int) -> str:
        """Put what is added to a convolution's result; where the size changes, mean of 2x2 and an 8-bit 1x1 product."""
        if stride == 1:
            return source
        self._to_bytes(source)
        self.put(ir.SumPool2d, kernel=(stride, stride), stride=(stride, stride), zero_point=self.zero_point)
        self.put(ir.ToReal, scale=REAL_STEP / stride**2)
        self._to_bytes()
        self._convolve(channels, 1, 1, BYTE_BITS)
        return self._norm()

    def _to_bytes(self, *source: str) -> None:
        self.put(ir.QuantizeLinear, *source, bits=BYTE_BITS, step=REAL_STEP, low=-PIXEL_ZERO)
        self.zero_point = PIXEL_ZERO

    def _rprelu(self) -> None:
        channels = self.shape[-1]
        ones = np.ones(channels, dtype=np.float32)

        def drawn() -> Floats:
            return self.rng.normal(0.0, 0.1, channels).astype(np.float32)

        self.put(ir.Affine, multiplier=ones, addend=drawn(), fused=False)
        self.put(ir.PRelu, slope=drawn() + np.float32(0.25))
        self.put(ir.Affine, multiplier=ones, addend=drawn(), fused=False)


def random_weight(rng: np.random.Generator, shape: tuple[int, int], count: int, largest: int) -> NDArray[np.int32]:
    """Return random integers of `count` bits whose sums with inputs up to `largest` stay below 2^24.

    Args:
        rng: draws them.
        shape: output channels and weights of each.
        count: bits; 1 gives -1 and +1, more a bell over the two's complement range.
        largest: magnitude of an input.
    """
    if count == 1:
        return rng.integers(0, 2, shape, dtype=np.int32) * 2 - 1
    half = 2 ** (count - 1)
    # Mean magnitude of a normal number is 0.8 of its deviation; a tenth is left for the luck of a channel.
    most = 0.9 * ir.MAX_EXACT / (largest * shape[1]) / 0.8
    drawn = rng.standard_normal(shape, dtype=np.float32) * min(half / 2, most)
    weight: NDArray[np.int32] = np.clip(np.rint(drawn), -half, half - 1).astype(np.int32)
    return weight


def _zero_point(count: int) -> int:
    return 0 if count == 1 else 2 ** (count - 1)
