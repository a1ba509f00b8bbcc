"""Oracles for packed bits: one element at a time, in Python integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORD = 64


def bit_of(words: Sequence[Any] | NDArray[np.uint64], i: int) -> int:
    """Return element `i` of a packed row."""
    return (int(words[i // WORD]) >> (i % WORD)) & 1


def pack_bits_oracle(bits: Sequence[int]) -> list[int]:
    """Return the words of one row of bits."""
    words = [0] * ((len(bits) + WORD - 1) // WORD)
    for i, bit in enumerate(bits):
        words[i // WORD] += bit * 2 ** (i % WORD)
    return words
