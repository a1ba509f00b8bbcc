"""Hypothesis strategies for packed networks, and one small network that uses every op."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from featherbit.bits import pack_sign
from featherbit.ir import Affine, Flatten, Graph, Input, Linear, Op, PackSign, QuantizeLinear, Threshold

WIDTHS = st.sampled_from([1, 2, 7, 63, 64, 65, 70])


def linear(source: str, output: str, k: int, n: int, rng: np.random.Generator, zero_point: int = 0) -> Linear:
    """Return a Linear op with random weights."""
    weight = pack_sign(rng.choice([-1, 1], size=(n, k)))
    return Linear((source,), output, f"layers.{output}", weight=weight, in_features=k, zero_point=zero_point)


def threshold(source: str, output: str, n: int, rng: np.random.Generator) -> Threshold:
    """Return a Threshold op with random thresholds, some of them at the ends of int32."""
    thresholds = rng.integers(-9, 9, size=n).astype(np.int32)
    thresholds[rng.random(n) < 0.1] = -(2**31)
    thresholds[rng.random(n) < 0.1] = 2**31 - 1
    return Threshold((source,), output, thresholds=thresholds, flips=pack_sign(rng.choice([-1, 1], size=n)))


def affine(source: str, output: str, n: int, rng: np.random.Generator, fused: bool) -> Affine:
    """Return an Affine op with any float32 at all, infinities and NaN too."""
    multiplier, addend = rng.integers(0, 2**32, size=(2, n), dtype=np.uint32).view(np.float32)
    return Affine((source,), output, multiplier=multiplier, addend=addend, fused=fused)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw a small multilayer perceptron, or the beginning of one."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    dtype = draw(st.sampled_from(["uint8", "float32"]))
    ops: list[Op] = [Input((), "x", shape=shape, dtype=dtype), Flatten(("x",), "flat")]
    k = int(np.prod(shape))
    top = 255
    if dtype == "float32":
        bits = draw(st.integers(0, 8))
        ops.append(QuantizeLinear(("flat",), "codes", bits=bits) if bits else PackSign(("flat",), "codes"))
        top = 2**bits - 1
    zero_point = draw(st.integers(0, top))
    for layer in range(draw(st.integers(0, 3))):
        n = draw(WIDTHS)
        ops.append(linear(ops[-1].output, f"sum{layer}", k, n, rng, zero_point if layer == 0 else 0))
        ops.append(threshold(ops[-1].output, f"bits{layer}", n, rng))
        k, zero_point = n, 0
    if draw(st.booleans()):
        n = draw(WIDTHS)
        ops.append(linear(ops[-1].output, "sum", k, n, rng, zero_point))
        ops.append(affine(ops[-1].output, "y", n, rng, draw(st.booleans())))
    return Graph(tuple(ops), ops[-1].output)


def batch_for(graph: Graph, size: int, seed: int) -> NDArray[Any]:
    """Return random input for a graph, `[size, *shape]`, with some zeros, ties and infinities among the floats."""
    rng = np.random.default_rng(seed)
    shape = (size, *graph.input.shape)
    if graph.input.dtype == "uint8":
        return rng.integers(0, 256, size=shape, dtype=np.uint8)
    x = rng.integers(-300, 300, size=shape).astype(np.float32) / 256
    x[rng.random(shape) < 0.1] = -0.0
    x[rng.random(shape) < 0.05] = np.inf
    return x


def every_op() -> Graph:
    """Return one small network that uses every kind of array; all its numbers are written down or computed here."""
    n = np.arange(5)
    return Graph(
        (
            Input((), "x", shape=(2, 35), dtype="float32"),
            Flatten(("x",), "flat"),
            QuantizeLinear(("flat",), "codes"),
            Linear(("codes",), "sum1", "layers.1", weight=_pattern(66, 70), in_features=70, zero_point=128),
            Threshold(("sum1",), "bits1", "layers.2", thresholds=_thresholds(66), flips=_pattern(1, 66)[0]),
            Linear(("bits1",), "sum2", "layers.3", weight=_pattern(5, 66), in_features=66),
            Affine(
                ("sum2",),
                "y",
                "layers.4",
                multiplier=((n - 2) / 8).astype(np.float32),
                addend=(n * n / 16).astype(np.float32),
                fused=True,
            ),
        ),
        "y",
    )


def _pattern(n: int, k: int) -> NDArray[np.uint64]:
    rows, columns = np.indices((n, k))
    return pack_sign(((rows * rows + 3 * columns * columns + rows * columns) % 7) - 3)


def _thresholds(n: int) -> NDArray[np.int32]:
    thresholds = ((np.arange(n) * 37) % 101 - 50).astype(np.int32)
    thresholds[0], thresholds[1] = -(2**31), 2**31 - 1
    return thresholds
