"""The definition of right: every op in plain numpy, obvious, slow and short.

Every other execution of a graph must equal this one to the bit. Values are unpacked: `sign` values are int8 -1 and +1,
unsigned codes uint8, the rest int32 or float32, each `[B, *shape]`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..bits import unpack_sign
from ..errors import InputError
from ._graph import Graph
from ._op import Op
from ._ops import Affine, Flatten, Input, Linear, PackSign, QuantizeLinear, Threshold
from ._rounding import fma_f32

_SomeOp = TypeVar("_SomeOp", bound=Op)
_Rule = Callable[..., NDArray[Any]]
RULES: dict[type[Op], _Rule] = {}
"""The function that computes each op but `Input`, which the caller computes."""


def rule(cls: type[_SomeOp]) -> Callable[[_Rule], _Rule]:
    """Register what computes an op: `f(op, *values) -> value`, batch first."""

    def register(function: _Rule) -> _Rule:
        RULES[cls] = function
        return function

    return register


def run(graph: Graph, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Compute every value of a graph.

    Args:
        graph: a packed network.
        x: uint8 or float32 as the graph's input declares, `[B, *shape]`, B from 0 up, no NaN.

    Returns:
        Every value by name, `[B, *shape]`: int8 -1 and +1, uint8 codes, int32 or float32.

    Raises:
        InputError: wrong dtype, wrong shape, or a NaN.
    """
    _check(graph.input, x)
    values = {graph.input.output: x}
    for op in graph.ops[1:]:
        values[op.output] = RULES[type(op)](op, *(values[name] for name in op.inputs))
    return values


def _check(op: Input, x: NDArray[Any]) -> None:
    if not isinstance(x, np.ndarray) or x.dtype != np.dtype(op.dtype):
        got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise InputError(f"the input must be a {op.dtype} array, got {got}; convert it first")
    if x.shape[1:] != op.shape or x.ndim == 0:
        raise InputError(f"the input must have shape [batch, {', '.join(map(str, op.shape))}], got {list(x.shape)}")
    if np.isnan(x).any():
        raise InputError("the input holds NaN, which has no sign and no code; remove it first")


@rule(Flatten)
def _flatten(op: Flatten, x: NDArray[Any]) -> NDArray[Any]:
    return x.reshape(len(x), int(np.prod(x.shape[1:])))  # [B, prod]


@rule(PackSign)
def _pack_sign(op: PackSign, x: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.where(x >= 0, 1, -1).astype(np.int8)


@rule(QuantizeLinear)
def _quantize_linear(op: QuantizeLinear, x: NDArray[np.float32]) -> NDArray[np.uint8]:
    half = 2 ** (op.bits - 1)
    scaled = x.astype(np.float64) * half  # exact
    codes: NDArray[np.float64] = np.clip(np.rint(scaled), -half, half - 1) + half
    return np.where(np.isnan(codes), 0.0, codes).astype(np.uint8)


@rule(Linear)
def _linear(op: Linear, x: NDArray[Any]) -> NDArray[np.int32]:
    weight = unpack_sign(op.weight, op.in_features).astype(np.float64)  # [N, K]
    total = (x.astype(np.float64) - op.zero_point) @ weight.T  # [B, N]; integers below 2^53 are exact in any order
    y: NDArray[np.int32] = total.astype(np.int32)
    assert np.array_equal(y, total), "Linear bounds its sums by 2^24"
    return y


@rule(Threshold)
def _threshold(op: Threshold, x: NDArray[np.int32]) -> NDArray[np.int8]:
    flips = unpack_sign(op.flips, len(op.thresholds)) > 0  # [N]
    return np.where((x >= op.thresholds) ^ flips, 1, -1).astype(np.int8)


@rule(Affine)
def _affine(op: Affine, x: NDArray[np.int32]) -> NDArray[np.float32]:
    x_f32 = x.astype(np.float32)  # exact: |x| <= 2^24
    if op.fused:
        return fma_f32(x_f32, op.multiplier, op.addend)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return x_f32 * op.multiplier + op.addend
