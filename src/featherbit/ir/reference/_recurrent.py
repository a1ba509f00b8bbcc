"""The rules of ops of networks with a memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._ops_recurrent import Embedding, LookUp, MulReal
from ._interpret import rule


@rule(Embedding)
def _embedding(op: Embedding, x: NDArray[np.int32]) -> NDArray[np.int8] | NDArray[np.uint8]:
    rows = op.unpacked()[x[:, 0]]  # [B, E]
    return np.where(rows > 0, 1, -1).astype(np.int8) if op.sign else rows


@rule(LookUp)
def _look_up(op: LookUp, x: NDArray[np.float32]) -> NDArray[np.float32]:
    half = len(op.table) // 2
    with np.errstate(over="ignore", under="ignore"):
        quotient = x / np.float32(op.step)  # float32, rounded once
    places = np.clip(np.rint(quotient), -half, half - 1)
    return op.table[np.where(np.isnan(places), 0, places + half).astype(np.int64)]


@rule(MulReal)
def _mul_real(op: MulReal, a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return a * b
