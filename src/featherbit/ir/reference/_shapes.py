"""The rules of ops that move elements about."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._ops_shapes import ChannelsLast, Concat, Flatten, Rearrange
from ._interpret import rule


@rule(Flatten)
def _flatten(op: Flatten, x: NDArray[Any]) -> NDArray[Any]:
    return x.reshape(len(x), int(np.prod(x.shape[1:])))  # [B, prod]


@rule(ChannelsLast)
def _channels_last(op: ChannelsLast, x: NDArray[Any]) -> NDArray[Any]:
    if x.ndim == 3:
        x = x[:, :, None, :]  # [B, C, L] -> [B, C, 1, L]
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))  # [B, *S, C]


@rule(Rearrange)
def _rearrange(op: Rearrange, x: NDArray[Any]) -> NDArray[Any]:
    flat = x.reshape(len(x), int(np.prod(x.shape[1:])))  # [B, size]
    return flat[:, op.order].reshape(len(x), *op.shape)


@rule(Concat)
def _concat(op: Concat, *xs: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate(xs, axis=-1)
