"""The rules of ops that compute each element by itself, some with parameters for each channel (the last dimension)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bits import unpack_sign
from .._ops_integers import Add, MultiThreshold, Threshold
from .._ops_quantize import PackSign, QuantizeLinear, ToReal
from .._ops_reals import AddReal, Affine, Clamp, PRelu
from .._rounding import fma_f32
from ._interpret import rule


@rule(Threshold)
def _threshold(op: Threshold, x: NDArray[np.int32]) -> NDArray[np.int8]:
    flips = unpack_sign(op.flips, len(op.thresholds)) > 0  # [N]
    return np.where((x >= op.thresholds) ^ flips, 1, -1).astype(np.int8)


@rule(MultiThreshold)
def _multi_threshold(op: MultiThreshold, x: NDArray[np.int32]) -> NDArray[np.uint8]:
    flips = unpack_sign(op.flips, len(op.thresholds)) > 0  # [N]
    codes = np.zeros(x.shape, dtype=np.uint8)
    for thresholds in op.thresholds.T:  # [N], for each of the 2^bits - 1
        codes += (x >= thresholds) ^ flips
    return codes


@rule(Add)
def _add(op: Add, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int32]:
    a_part = op.a_multiplier * (a.astype(np.int64) - op.a_zero_point)
    b_part = op.b_multiplier * (b.astype(np.int64) - op.b_zero_point)
    return (a_part + b_part).astype(np.int32)  # bounded by 2^24


@rule(PackSign)
def _pack_sign(op: PackSign, x: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.where(x >= 0, 1, -1).astype(np.int8)


@rule(QuantizeLinear)
def _quantize_linear(op: QuantizeLinear, x: NDArray[np.float32]) -> NDArray[np.uint8]:
    with np.errstate(over="ignore", under="ignore"):
        quotient = x / np.float32(op.step)  # float32, rounded once
    high = op.low + 2**op.bits - 1
    codes: NDArray[np.float32] = np.clip(np.rint(quotient), op.low, high) - np.float32(op.low)
    return np.where(np.isnan(codes), 0.0, codes).astype(np.uint8)


@rule(ToReal)
def _to_real(op: ToReal, x: NDArray[Any]) -> NDArray[np.float32]:
    exact = np.float64(op.scale) * (x.astype(np.int64) - op.zero_point)
    with np.errstate(over="ignore"):
        return exact.astype(np.float32)  # rounded once: to the nearest, ties to even


@rule(Affine)
def _affine(op: Affine, x: NDArray[Any]) -> NDArray[np.float32]:
    x_f32 = x.astype(np.float32)  # an int32 past 2^24 is rounded to the nearest, ties to even
    if op.fused:
        return fma_f32(x_f32, op.multiplier, op.addend)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return x_f32 * op.multiplier + op.addend


@rule(AddReal)
def _add_real(op: AddReal, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return a + b


@rule(PRelu)
def _prelu(op: PRelu, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return np.where(x > 0, x, op.slope * x)


@rule(Clamp)
def _clamp(op: Clamp, x: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.float32(op.low), np.float32(op.high)
    return np.where(x < low, low, np.where(x > high, high, x))
