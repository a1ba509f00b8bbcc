"""Oracles for the native kernels: unpacked numbers, multiplied and compared one array at a time in int64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = 64


def words_of(bits: NDArray[Any]) -> NDArray[np.uint64]:
    """Pack rows of truth values: element `i` is bit `i % 64` of word `i // 64`; tail bits are zero."""
    rows, k = bits.shape
    words = np.zeros((rows, (k + WORD - 1) // WORD), dtype=np.uint64)
    for i in range(k):
        words[:, i // WORD] |= bits[:, i].astype(np.uint64) << np.uint64(i % WORD)
    return words


def signs_of(words: NDArray[np.uint64], k: int) -> NDArray[np.int64]:
    """Unpack rows of words to int64 -1 and +1."""
    columns = [(words[:, i // WORD] >> np.uint64(i % WORD)) & np.uint64(1) for i in range(k)]
    return 2 * np.stack(columns, axis=1).astype(np.int64) - 1 if k else np.zeros((len(words), 0), dtype=np.int64)


def products_of(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
    """Return the dot product of each row of `a` with each row of `b`."""
    products: NDArray[np.int64] = np.einsum("mk,nk->mn", a.astype(np.int64), b.astype(np.int64))
    return products


def thresholded(acc: NDArray[Any], thresholds: NDArray[Any], flips: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return `(acc >= threshold) XOR flip`, column by column."""
    bits: NDArray[np.bool_] = (acc.astype(np.int64) >= thresholds.astype(np.int64)[None, :]) != flips[None, :]
    return bits
