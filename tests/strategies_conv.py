"""Hypothesis strategies for packed networks with images, k bits and branches, and one network that uses every op."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from featherbit.bits import pack_sign, pack_weight, weight_range
from featherbit.errors import FileErrorCode, GraphError
from featherbit.ir import (
    Add,
    AddReal,
    Affine,
    ChannelsLast,
    Clamp,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Op,
    PackSign,
    PRelu,
    QuantizeLinear,
    Rearrange,
    SumPool2d,
    Threshold,
    ToReal,
    ValueType,
)

HALVES = (np.arange(4) / 8 - 0.25).astype(np.float32)
ENCODINGS = [("sign", bits) for bits in range(1, 9)] + [("twos_complement", bits) for bits in range(2, 9)]


def random_weight(n: int, k: int, bits: int, encoding: Any, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Return packed random weights of an encoding, its ends among them."""
    low, high, step = weight_range(bits, encoding)
    return pack_weight(rng.choice(np.arange(low, high + 1, step), size=(n, k)), bits, encoding)


@dataclass
class GraphBuilder:
    """Ops written one after the other; each method takes and returns the name of a value."""

    rng: np.random.Generator
    draw: st.DrawFn
    ops: list[Op] = field(default_factory=list)
    types: dict[str, ValueType] = field(default_factory=dict)

    def write(self, cls: type[Op], *inputs: str, **fields: Any) -> str:
        op = cls(inputs, f"v{len(self.ops)}", f"layers.{len(self.ops)}", **fields)
        self.types[op.output] = op.infer(*(self.types[name] for name in inputs))
        self.ops.append(op)
        return op.output

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def zero_point(self, x: str) -> int:
        return self.integer(0, self.types[x].magnitude()) if self.types[x].is_unsigned else 0

    def window(self, x: str, dilated: bool = True) -> dict[str, Any]:
        """Draw a window that fits, with less padding than taps."""
        size = self.types[x].shape[:2]
        kernel = tuple(self.integer(1, min(3, s)) for s in size)
        padding = tuple(self.integer(0, kernel[side % 2] - 1) for side in range(4))
        window = {"kernel": kernel, "stride": (self.integer(1, 3), self.integer(1, 2)), "padding": padding}
        if dilated:
            spare = [s - k for s, k in zip(size, kernel, strict=True)]
            window["dilation"] = tuple(
                self.integer(1, 1 + min(1, gap // (k - 1) if k > 1 else 1))
                for gap, k in zip(spare, kernel, strict=True)
            )
        return window

    def conv(self, x: str) -> str:
        source = self.types[x]
        channels, zero_point = source.channels, self.zero_point(x)
        groups = self.draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
        n = groups * self.integer(1, 3)
        window = self.window(x)
        encoding, bits = self.draw(st.sampled_from(ENCODINGS))
        k = window["kernel"][0] * window["kernel"][1] * channels // groups
        low, high = (-1, 1) if source.is_sign else (-zero_point, source.magnitude() - zero_point)
        pad_value = self.draw(st.sampled_from(sorted({low, 0, high})))
        return self.write(
            Conv2d,
            x,
            weight=random_weight(n, k, bits, encoding, self.rng),
            zero_point=zero_point,
            weight_bits=bits,
            weight_encoding=encoding,
            in_channels=channels,
            groups=groups,
            pad_value=pad_value,
            **window,
        )

    def linear(self, x: str) -> str:
        x = self.write(Flatten, x) if len(self.types[x].shape) > 1 else x
        k, zero_point = self.types[x].size, self.zero_point(x)
        encoding, bits = self.draw(st.sampled_from(ENCODINGS))
        weight = random_weight(self.integer(1, 5), k, bits, encoding, self.rng)
        return self.write(
            Linear, x, weight=weight, zero_point=zero_point, weight_bits=bits, weight_encoding=encoding, in_features=k
        )

    def threshold(self, x: str) -> str:
        n, bits = self.types[x].channels, self.draw(st.sampled_from([1, 1, 2, 3, 4, 8]))
        reach = max(2, min(self.types[x].bound, 300))
        thresholds = np.sort(self.rng.integers(-reach, reach, size=(n, 2**bits - 1)), axis=1).astype(np.int32)
        ends = self.rng.random(n) < 0.2
        thresholds[ends, 0], thresholds[ends, -1] = -(2**31), 2**31 - 1
        flips = pack_sign(self.rng.choice([-1, 1], size=n))
        if bits == 1 and self.draw(st.booleans()):
            return self.write(Threshold, x, thresholds=thresholds[:, 0], flips=flips)
        return self.write(MultiThreshold, x, bits=bits, thresholds=thresholds, flips=flips)

    def max_pool(self, x: str) -> str:
        return self.write(MaxPool2d, x, **self.window(x))

    def sum_pool(self, x: str) -> str:
        return self.write(SumPool2d, x, zero_point=self.zero_point(x), **self.window(x, dilated=False))

    def add(self, x: str) -> str:
        multipliers = {f"{side}_multiplier": self.draw(st.sampled_from([-2, 1, 4])) for side in "ab"}
        other = self.same_shape(x)
        points = {"a_zero_point": self.zero_point(x), "b_zero_point": self.zero_point(other)}
        return self.write(Add, x, other, **multipliers, **points)

    def same_shape(self, x: str) -> str:
        """Return another integer value of the shape of `x`, or `x`."""
        mates = [name for name, kind in self.types.items() if kind.shape == self.types[x].shape and kind.is_integer]
        return self.draw(st.sampled_from(mates))

    def concat(self, x: str) -> str:
        return self.write(Concat, x, *[x] * self.integer(1, 2))

    def rearrange(self, x: str) -> str:
        shape = self.types[x].shape
        order = self.rng.integers(0, self.types[x].size, size=self.types[x].size).astype(np.int32)
        return self.write(Rearrange, x, shape=shape[::-1], order=order)

    def to_real(self, x: str) -> str:
        return self.write(ToReal, x, scale=2.0 ** self.integer(-8, 3), zero_point=self.zero_point(x))

    def affine(self, x: str) -> str:
        numbers = self.rng.normal(size=(2, self.types[x].channels)).astype(np.float32)
        numbers[self.rng.random(numbers.shape) < 0.05] = np.inf
        numbers[self.rng.random(numbers.shape) < 0.05] = -0.0
        return self.write(Affine, x, multiplier=numbers[0], addend=numbers[1], fused=self.draw(st.booleans()))

    def prelu(self, x: str) -> str:
        return self.write(PRelu, x, slope=self.rng.normal(size=self.types[x].channels).astype(np.float32))

    def clamp(self, x: str) -> str:
        low = self.draw(st.sampled_from([-np.inf, -1.0, 0.0]))
        return self.write(Clamp, x, low=low, high=self.draw(st.sampled_from([0.5, 6.0, np.inf])))

    def add_real(self, x: str) -> str:
        return self.write(AddReal, x, self.prelu(x))

    def quantize(self, x: str) -> str:
        bits = self.integer(0, 8)
        if bits == 0:
            return self.write(PackSign, x)
        step = self.draw(st.sampled_from([0.25, float(np.float32(0.3)), 2.0]))
        return self.write(
            QuantizeLinear, x, bits=bits, step=step, low=self.draw(st.sampled_from([0, -(2 ** (bits - 1))]))
        )

    def any_op(self, x: str) -> str:
        """Write a random op that can read `x`; none where its sum could pass 2^24."""
        source = self.types[x]
        image = len(source.shape) == 3
        choices = [self.concat, self.rearrange] + [self.max_pool] * 2 * image
        if source.element == "float32":
            choices += [self.affine, self.prelu, self.clamp, self.add_real] + [self.quantize] * 8
        elif source.element == "int32":
            choices += [self.threshold] * 8 + [self.affine, self.to_real, self.add] + [self.sum_pool] * image
        else:
            choices += [self.linear, self.to_real, self.add] + [self.conv] * 8 * image + [self.sum_pool] * image
        try:
            return self.draw(st.sampled_from(choices))(x)
        except GraphError as error:
            if error.code != FileErrorCode.INEXACT_SUM:
                raise
            return x


@st.composite
def conv_graphs(draw: st.DrawFn, most_ops: int = 6) -> Graph:
    """Draw a small network of any ops, branches and k-bit operands among them."""
    builder = GraphBuilder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw)
    channels, height, width = (draw(st.integers(1, most)) for most in (4, 5, 5))
    shape = draw(st.sampled_from([(channels, width), (channels, height, width)]))
    x = builder.write(Input, shape=shape, dtype=draw(st.sampled_from(["uint8", "float32"])))
    x = builder.write(ChannelsLast, x)
    for _ in range(draw(st.integers(1, most_ops))):
        x = builder.any_op(x)
    return Graph(tuple(used(builder.ops, x)), x)


def used(ops: list[Op], output: str) -> list[Op]:
    """Return the ops that the output needs."""
    needed = {output}
    kept = []
    for op in reversed(ops):
        if op.output in needed:
            needed.update(op.inputs)
            kept.append(op)
    return kept[::-1]


def every_conv_op() -> Graph:
    """Return one small network that uses every op and attribute; all its numbers are written down or computed here."""
    ops: list[Op] = [Input((), "x", shape=(2, 5, 4), dtype="uint8"), ChannelsLast(("x",), "nhwc")]
    return Graph((*ops, *_convolutions(), *_real_branch(), *_dense_end()), "y")


def _convolutions() -> list[Op]:
    first = np.array([_pattern(2 * 3 * 3, seed) % 16 - 8 for seed in range(3)])  # [3, K]
    second = 2 * np.array([_pattern(3 * 1, seed) % 4 for seed in range(4)]) - 3  # [4, K]
    ladder = (np.arange(1, 8) * 40 - 160 + 3 * np.arange(3)[:, None]).astype(np.int32)  # [3, 7]
    ladder[2, 0], ladder[2, -1] = -(2**31), 2**31 - 1
    return [
        Conv2d(
            ("nhwc",),
            "sum1",
            "layers.1",
            weight=pack_weight(first, 4, "twos_complement"),
            weight_bits=4,
            weight_encoding="twos_complement",
            zero_point=128,
            in_channels=2,
            kernel=(3, 3),
            stride=(1, 1),
            padding=(1, 1, 1, 1),
            pad_value=-1,
        ),
        MultiThreshold(("sum1",), "codes1", "layers.2", bits=3, thresholds=ladder, flips=np.array([2], np.uint64)),
        MaxPool2d(("codes1",), "pooled", "layers.3", kernel=(2, 2), stride=(2, 1), padding=(1, 0, 0, 0)),
        Concat(("pooled", "pooled"), "wide", "layers.4"),
        Rearrange(("wide",), "narrow", "layers.4", shape=(3, 3, 3), order=(_pattern(27, 5) % 54).astype(np.int32)),
        Conv2d(
            ("narrow",),
            "sum2",
            "layers.5",
            weight=pack_weight(np.repeat(second[:3, :1], 1, axis=0), 2, "sign"),
            weight_bits=2,
            weight_encoding="sign",
            in_channels=3,
            groups=3,
            kernel=(1, 1),
            dilation=(1, 1),
        ),
        Add(("sum2", "narrow"), "residual", "layers.6", a_multiplier=2, b_multiplier=-1, b_zero_point=4),
        SumPool2d(("residual",), "sums", "layers.7", kernel=(3, 2), stride=(1, 1)),
    ]


def _real_branch() -> list[Op]:
    third = float(np.float32(1 / 3))
    return [
        ToReal(("sums",), "real", "layers.8", scale=0.125),
        PRelu(("real",), "prelu", "layers.8", slope=HALVES[:3]),
        AddReal(("real", "prelu"), "joined", "layers.9", reason="two \u00e9"),
        Clamp(("joined",), "clamped", "layers.9", low=-6.0, high=float("inf")),
        QuantizeLinear(("clamped",), "codes2", "layers.10", bits=2, step=third, low=-1),
        PackSign(("clamped",), "signs", "layers.10"),
        ToReal(("signs",), "signs_real", "layers.11"),
        ToReal(("codes2",), "codes2_real", "layers.11", zero_point=1),
        AddReal(("signs_real", "codes2_real"), "mixed", "layers.11"),
        Affine(("mixed",), "scaled", "layers.12", multiplier=HALVES[1:] + 1, addend=-HALVES[:3], fused=False),
        QuantizeLinear(("scaled",), "codes3", "layers.12", bits=4, step=0.5, low=-8),
    ]


def _dense_end() -> list[Op]:
    last = np.array([1 - 2 * (_pattern(8, seed) % 2) for seed in range(5)])  # [5, K]
    ternary = np.array([_pattern(8, seed) % 3 - 1 for seed in range(2)])
    return [
        Flatten(("codes3",), "flat"),
        Rearrange(("flat",), "eight", shape=(8,), order=(_pattern(8, 1) % 6).astype(np.int32)),
        Linear(("eight",), "sum3", "layers.13", weight=pack_weight(last, 1, "sign"), in_features=8, zero_point=8),
        Threshold(
            ("sum3",),
            "bits3",
            "layers.14",
            thresholds=np.array([-3, 0, 2, -(2**31), 2**31 - 1], np.int32),
            flips=np.array([4], np.uint64),
        ),
        Rearrange(("bits3",), "bits8", shape=(8,), order=np.array([0, 1, 2, 3, 4, 0, 1, 2], np.int32)),
        Linear(
            ("bits8",),
            "sum4",
            "layers.15",
            weight=pack_weight(ternary, 2, "twos_complement"),
            weight_bits=2,
            weight_encoding="twos_complement",
            in_features=8,
        ),
        Affine(("sum4",), "y", "layers.16", multiplier=HALVES[2:] + 0.5, addend=HALVES[:2], fused=True),
    ]


def _pattern(count: int, seed: int) -> NDArray[np.int64]:
    i = np.arange(count, dtype=np.int64)
    return (i * i * 7 + i * (3 + seed) + 11 * seed) % 97
