"""Random ops of a packed network, drawn so that everything is exact in float32.

Sums stay below 2^24, batch norms scale by powers of two and add a multiple of it: it does not matter in which order
torch adds, and whether it rounds once or twice. None of this changes how long anybody takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import bits, ir

BYTE_BITS = 8
BYTE_ZERO = 128


@dataclass
class Drawing:
    """A graph under construction; an op reads the last value unless told otherwise.

    Args:
        rng: of everything drawn.
        ops: so far.
        types: of their values.
        zero_point: of the last codes.
    """

    rng: np.random.Generator
    ops: list[ir.Op] = field(default_factory=list)
    types: dict[str, ir.ValueType] = field(default_factory=dict)
    zero_point: int = 0

    @property
    def value(self) -> str:
        """The name of the last value."""
        return self.ops[-1].output

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the last value."""
        return self.types[self.value].shape

    def put(self, kind: type[ir.Op], *inputs: str, **fields: Any) -> str:
        """Append an op; return its value's name."""
        sources = () if kind is ir.Input else inputs or (self.value,)
        op = kind(sources, f"v{len(self.ops)}", **fields)
        self.ops.append(op)
        self.types[op.output] = op.infer(*(self.types[name] for name in sources))
        return op.output

    def convolve(self, channels: int, kernel: int, stride: int, weight_bits: int) -> str:
        """Put a convolution padded by half of its kernel."""
        fan_in = kernel * kernel * self.shape[-1]
        return self.put(
            ir.Conv2d,
            **self._weight(channels, fan_in, weight_bits),
            in_channels=self.shape[-1],
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(kernel // 2,) * 4,
        )

    def multiply(self, features: int, weight_bits: int) -> None:
        """Put a fully connected layer of everything there is."""
        if len(self.shape) > 1:
            self.put(ir.Flatten)
        (fan_in,) = self.shape
        self.put(ir.Linear, **self._weight(features, fan_in, weight_bits), in_features=fan_in)

    def _weight(self, channels: int, fan_in: int, count: int) -> dict[str, Any]:
        largest = self.types[self.value].magnitude(self.zero_point)
        weight = random_weight(self.rng, (channels, fan_in), count, largest)
        encoding: bits.WeightEncoding = "sign" if count == 1 else "twos_complement"
        words = bits.pack_weight(weight, count, encoding)
        return {"weight": words, "weight_bits": count, "weight_encoding": encoding, "zero_point": self.zero_point}

    def quantize(self, count: int, *inputs: str) -> None:
        """Put thresholds as batch norm and the quantizer make them.

        Half of the channels are flipped.
        """
        source = inputs[0] if inputs else self.value
        channels = self.types[source].channels
        flips = bits.pack_sign(self.rng.integers(0, 2, channels) * 2 - 1)
        spread = self._deviation(source)
        center = self.rng.normal(0.0, spread / 2, (channels, 1))
        steps = np.arange(2**count - 1) - (2 ** (count - 1) - 1)  # [2^count - 1], 0 in the middle
        thresholds = np.rint(center + steps * max(1.0, 4 * spread / 2**count)).astype(np.int32)
        if count == 1:
            self.put(ir.Threshold, source, thresholds=thresholds[:, 0], flips=flips)
        else:
            self.put(ir.MultiThreshold, source, bits=count, thresholds=thresholds, flips=flips)
        self.zero_point = zero_point_of(count)

    def norm(self, source: str) -> str:
        """Put a batch norm of sums whose result has a deviation of about 1."""
        channels = self.types[source].channels
        exponent = np.rint(np.log2(self._deviation(source))) + self.rng.integers(0, 2, channels)
        gain = np.exp2(-exponent)
        addend = np.rint(self.rng.normal(0.0, 0.5, channels) / gain) * gain
        numbers = {"multiplier": gain * self.rng.choice([-1.0, 1.0], channels), "addend": addend}
        return self.put(
            ir.Affine, source, **{name: each.astype(np.float32) for name, each in numbers.items()}, fused=True
        )

    def _deviation(self, source: str) -> float:
        """Return about how far sums lie from zero; `source` is one, or a pooling of one."""
        op = next(op for op in self.ops if op.output == source)
        while not isinstance(op, ir.Conv2d | ir.Linear | ir.SumPool2d):
            op = next(each for each in self.ops if each.output == op.inputs[0])
        largest = self.types[op.inputs[0]].magnitude(op.zero_point)
        mean_square = 1.0 if largest == 1 else largest**2 / 3
        if isinstance(op, ir.SumPool2d):
            return float((op.kernel[0] * op.kernel[1] * mean_square) ** 0.5)
        weight = op.integer_weight()[:64].astype(np.float64)
        return float((np.square(weight).sum(axis=1).mean() * mean_square) ** 0.5)

    def mean(self, height: int, width: int, *, whole: bool = False) -> None:
        """Put the mean of bytes over windows, rounded to bytes again by thresholds."""
        stride = (1, 1) if whole else (height, width)
        self.put(ir.SumPool2d, kernel=(height, width), stride=stride, zero_point=self.zero_point)
        if whole:
            self.put(ir.Flatten)
        halves = np.arange(2**BYTE_BITS - 1) + 0.5 - self.zero_point  # between two codes
        thresholds = np.ceil(np.tile(height * width * halves, (self.shape[-1], 1))).astype(np.int32)
        never = np.zeros(bits.words_per_row(len(thresholds)), dtype=np.uint64)
        self.put(ir.MultiThreshold, bits=BYTE_BITS, thresholds=thresholds, flips=never)

    def shift(self, source: str) -> str:
        """Put a real number added to each channel."""
        channels = self.types[source].channels
        addend = self.rng.normal(0.0, 0.1, channels).astype(np.float32)
        return self.put(ir.Affine, source, multiplier=np.ones_like(addend), addend=addend, fused=False)

    def scale(self, source: str, factor: float) -> str:
        """Put a multiplication of real values; nothing is added."""
        multiplier = np.full(self.types[source].channels, factor, dtype=np.float32)
        return self.put(ir.Affine, source, multiplier=multiplier, addend=np.full_like(multiplier, -0.0), fused=False)


def random_weight(rng: np.random.Generator, shape: tuple[int, int], count: int, largest: int) -> NDArray[np.int32]:
    """Return random integers of `count` bits, small enough for exact sums.

    With inputs up to `largest`, sums stay below 2^24.

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


def zero_point_of(count: int) -> int:
    """Return the code that means zero among signed numbers of so many bits."""
    return 0 if count == 1 else 2 ** (count - 1)
