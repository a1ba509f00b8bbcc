"""The rules of products and pools: one term for each tap of the window, added or compared in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import Window
from .._ops_pools import MaxPool2d, SumPool2d
from .._ops_products import Conv2d, Linear
from ._interpret import rule


@rule(Linear)
def _linear(op: Linear, x: NDArray[Any]) -> NDArray[np.int32]:
    weight = op.integer_weight().astype(np.float64)  # [N, K]
    return _to_int32((x.astype(np.float64) - op.zero_point) @ weight.T)  # [B, N]


@rule(Conv2d)
def _conv2d(op: Conv2d, x: NDArray[Any]) -> NDArray[np.int32]:
    per_group = op.in_channels // op.groups
    weight = op.integer_weight().astype(np.float64)  # [N, K]
    weight = weight.reshape(op.groups, -1, *op.kernel, per_group)  # [G, N / G, kh, kw, C / G]
    centered = _pad(x.astype(np.float64) - op.zero_point, op.window, op.pad_value)  # [B, H', W', C]
    total = np.zeros(())
    for (ky, kx), tap in _taps(centered, op.window):
        tap = tap.reshape(*tap.shape[:3], op.groups, 1, per_group)  # [B, Ho, Wo, G, 1, C / G]
        terms = tap @ weight[:, :, ky, kx].transpose(0, 2, 1)  # [B, Ho, Wo, G, 1, N / G]
        total = total + terms.reshape(*tap.shape[:3], op.out_features)  # [B, Ho, Wo, N]
    return _to_int32(total)


@rule(MaxPool2d)
def _max_pool2d(op: MaxPool2d, x: NDArray[Any]) -> NDArray[Any]:
    least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    greatest = None
    for _, tap in _taps(_pad(x, op.window, least), op.window):
        greatest = tap if greatest is None else np.where((tap > greatest) | (tap != tap), tap, greatest)
    assert greatest is not None, "a kernel has at least one tap"
    return greatest.copy()


@rule(SumPool2d)
def _sum_pool2d(op: SumPool2d, x: NDArray[Any]) -> NDArray[np.int32]:
    centered = _pad(x.astype(np.float64) - op.zero_point, op.window, 0)  # [B, H', W', C]
    total = np.zeros(())
    for _, tap in _taps(centered, op.window):
        total = total + tap
    return _to_int32(total)


def _pad(x: NDArray[Any], window: Window, value: Any) -> NDArray[Any]:
    top, left, bottom, right = window.padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _taps(padded: NDArray[Any], window: Window) -> Iterator[tuple[tuple[int, int], NDArray[Any]]]:
    """Yield what each tap of the window sees at every place, `[B, Ho, Wo, C]`."""
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.stride, window.dilation
    height = (padded.shape[1] - (kh - 1) * dh - 1) // sh + 1
    width = (padded.shape[2] - (kw - 1) * dw - 1) // sw + 1
    for ky, kx in itertools.product(range(kh), range(kw)):
        rows = slice(ky * dh, ky * dh + (height - 1) * sh + 1, sh)
        columns = slice(kx * dw, kx * dw + (width - 1) * sw + 1, sw)
        yield (ky, kx), padded[:, rows, columns]


def _to_int32(total: NDArray[np.float64]) -> NDArray[np.int32]:
    """Convert sums of integers, which are exact in float64 in any order: they are bounded by 2^31."""
    y: NDArray[np.int32] = total.astype(np.int32)
    assert np.array_equal(y, total), "ops bound their sums by 2^31"
    return y
