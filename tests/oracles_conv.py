"""Oracles for convolutions, pools, k-bit weights and real values: one number at a time, in Python's own numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracles_bits import bit_of
from oracles_ir import fma_oracle, round_to_f32

Image = NDArray[Any]  # of Python objects, one item of a batch
Place = tuple[int, ...]


def run_conv_oracle(graph: Any, item: NDArray[Any]) -> dict[str, Image]:
    """Compute every value of a graph for one item of a batch, element by element."""
    first = np.empty(item.shape, dtype=object)
    for place in np.ndindex(item.shape):
        first[place] = item[place].item()
    values = {graph.ops[0].output: first}
    for op in graph.ops[1:]:
        values[op.output] = _RULES[type(op).__name__](op, *(values[name] for name in op.inputs))
    return values


def weight_of(op: Any, n: int, k: int) -> int:
    """Return weight `k` of output channel `n`, from the bits."""
    channels = len(op.weight) // op.weight_bits
    bits = [bit_of(op.weight[plane * channels + n], k) for plane in range(op.weight_bits)]
    if op.weight_encoding == "sign":
        return sum((2 * bit - 1) << plane for plane, bit in enumerate(bits))
    return sum(bit << plane for plane, bit in enumerate(bits)) - (bits[-1] << op.weight_bits)


def _fill(shape: Place, number: Any) -> Image:
    image = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        image[place] = number(*place)
    return image


def _linear(op: Any, x: Image) -> Image:
    channels = len(op.weight) // op.weight_bits
    return _fill(
        (channels,), lambda n: sum((x[k] - op.zero_point) * weight_of(op, n, k) for k in range(op.in_features))
    )


def _outputs(size: int, reach: int, stride: int, before: int, after: int) -> int:
    return len(range(-before, size + after - reach + 1, stride))


def _image(op: Any, x: Image, channels: int, number: Any, dilation: tuple[int, int] = (1, 1)) -> Image:
    """Fill `[Ho, Wo, channels]` by `number(window, channel)`, window yielding each tap and its place or None."""
    top, left, bottom, right = op.padding
    reach = [(k - 1) * d + 1 for k, d in zip(op.kernel, dilation, strict=True)]
    height = _outputs(x.shape[0], reach[0], op.stride[0], top, bottom)
    width = _outputs(x.shape[1], reach[1], op.stride[1], left, right)

    def window(oy: int, ox: int) -> Iterator[tuple[int, int] | None]:
        for ky, kx in itertools.product(range(op.kernel[0]), range(op.kernel[1])):
            y = oy * op.stride[0] + ky * dilation[0] - top
            column = ox * op.stride[1] + kx * dilation[1] - left
            yield (y, column) if 0 <= y < x.shape[0] and 0 <= column < x.shape[1] else None

    return _fill((height, width, channels), lambda oy, ox, n: number(list(window(oy, ox)), n))


def _conv2d(op: Any, x: Image) -> Image:
    channels = len(op.weight) // op.weight_bits
    per_group = op.in_channels // op.groups

    def number(taps: list[tuple[int, int] | None], n: int) -> int:
        first = n // (channels // op.groups) * per_group
        total, k = 0, 0
        for tap in taps:
            for c in range(per_group):
                code = op.pad_value if tap is None else x[(*tap, first + c)] - op.zero_point
                total += code * weight_of(op, n, k)
                k += 1
        return total

    return _image(op, x, channels, number, op.dilation)


def _max_pool(op: Any, x: Image) -> Image:
    def number(taps: list[tuple[int, int] | None], c: int) -> Any:
        seen = [x[(*tap, c)] for tap in taps if tap is not None]
        return math.nan if any(math.isnan(value) for value in seen) else max(seen)  # max: the first of equals

    return _image(op, x, x.shape[2], number, op.dilation)


def _sum_pool(op: Any, x: Image) -> Image:
    return _image(
        op, x, x.shape[2], lambda taps, c: sum(x[(*tap, c)] - op.zero_point for tap in taps if tap is not None)
    )


def _each(x: Image, number: Any) -> Image:
    """Map each element and its channel."""
    return _fill(x.shape, lambda *place: number(x[place], place[-1]))


def _threshold(op: Any, x: Image) -> Image:
    return _each(x, lambda value, n: 1 if int(value >= int(op.thresholds[n])) ^ bit_of(op.flips, n) else -1)


def _multi_threshold(op: Any, x: Image) -> Image:
    return _each(x, lambda value, n: sum(int(value >= int(t)) ^ bit_of(op.flips, n) for t in op.thresholds[n].tolist()))


def _add(op: Any, a: Image, b: Image) -> Image:
    return _fill(
        a.shape,
        lambda *p: op.a_multiplier * (a[p] - op.a_zero_point) + op.b_multiplier * (b[p] - op.b_zero_point),
    )


def _affine(op: Any, x: Image) -> Image:
    multiplier, addend = op.multiplier.tolist(), op.addend.tolist()

    def number(value: Any, n: int) -> float:
        if op.fused:
            return float(fma_oracle(float(value), multiplier[n], addend[n]))
        return float(fma_oracle(float(fma_oracle(float(value), multiplier[n], -0.0)), 1.0, addend[n]))

    return _each(x, number)


def _prelu(op: Any, x: Image) -> Image:
    return _each(x, lambda v, n: v if v > 0 else float(fma_oracle(v, op.slope.tolist()[n], -0.0)))


def _quantize(op: Any, x: Image) -> Image:
    top = op.low + 2**op.bits - 1

    def number(value: float, _: int) -> int:
        if math.isnan(value):
            return 0
        if math.isinf(value):
            return top - op.low if value > 0 else 0
        exact = Fraction(value) / Fraction(op.step)
        quotient = float(round_to_f32(exact)) if exact else 0.0
        if math.isinf(quotient):
            return top - op.low if quotient > 0 else 0
        return min(max(round(Fraction(quotient)), op.low), top) - op.low

    return _each(x, number)


def _channels_last(op: Any, x: Image) -> Image:
    if x.ndim == 2:
        return _fill((1, x.shape[1], x.shape[0]), lambda _, place, c: x[c, place])
    return _fill((*x.shape[1:], x.shape[0]), lambda *place: x[(place[-1], *place[:-1])])


def _rearrange(op: Any, x: Image) -> Image:
    flat = x.ravel().tolist()
    return np.array([flat[i] for i in op.order.tolist()], dtype=object).reshape(op.shape)


def _concat(op: Any, *xs: Image) -> Image:
    edges = [0, *itertools.accumulate(x.shape[-1] for x in xs)]

    def number(*place: int) -> Any:
        part = max(i for i, edge in enumerate(edges[:-1]) if edge <= place[-1])
        return xs[part][(*place[:-1], place[-1] - edges[part])]

    return _fill((*xs[0].shape[:-1], edges[-1]), number)


_RULES: dict[str, Any] = {
    "Flatten": lambda op, x: x.ravel(),
    "ChannelsLast": _channels_last,
    "Rearrange": _rearrange,
    "Concat": _concat,
    "Linear": _linear,
    "Conv2d": _conv2d,
    "MaxPool2d": _max_pool,
    "SumPool2d": _sum_pool,
    "Threshold": _threshold,
    "MultiThreshold": _multi_threshold,
    "Add": _add,
    "Affine": _affine,
    "AddReal": lambda op, a, b: _fill(a.shape, lambda *p: float(fma_oracle(a[p], 1.0, b[p]))),
    "PRelu": _prelu,
    "Clamp": lambda op, x: _each(x, lambda v, _: op.low if v < op.low else op.high if v > op.high else v),
    "PackSign": lambda op, x: _each(x, lambda v, _: 1 if v >= 0 else -1),
    "QuantizeLinear": _quantize,
    "ToReal": lambda op, x: _each(x, lambda v, _: float(Fraction(op.scale) * (v - op.zero_point))),
}
