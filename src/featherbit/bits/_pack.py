"""Pack codes into 64-bit words and back.

Words are little-endian `uint64`; element `i` of a row is bit `i % 64` of word `i // 64`; the bits past the row's end
are zero, so that AND and XOR of two rows need no mask. k-bit codes become k bit-planes, plane 0 the lowest bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

WORD_BITS = 64
_WORD = np.dtype("<u8")


def words_per_row(k: int) -> int:
    """Return how many 64-bit words hold `k` bits.

    >>> [words_per_row(k) for k in (0, 1, 64, 65)]
    [0, 1, 1, 2]
    """
    return -(-k // WORD_BITS)


def pack_sign(x: NDArray[Any]) -> NDArray[np.uint64]:
    """Pack the signs of `x`: bit 1 where `x >= 0`, so zero is +1 and NaN is -1.

    Args:
        x: `[..., K]`, any real dtype.

    Returns:
        uint64 `[..., words_per_row(K)]`.

    >>> pack_sign(np.array([[1.0, -1.0, 0.0]])).tolist()
    [[5]]
    """
    x = _with_rows(x)
    with np.errstate(invalid="ignore"):
        return _pack_bits(x >= 0)


def unpack_sign(words: NDArray[np.uint64], k: int) -> NDArray[np.int8]:
    """Unpack `k` signs from each row of words.

    Args:
        words: uint64 `[..., words_per_row(k)]`.
        k: number of elements in a row.

    Returns:
        int8 `[..., k]`, each -1 or +1.

    Raises:
        InputError: wrong dtype or row length.

    >>> unpack_sign(np.array([[5]], dtype=np.uint64), 3).tolist()
    [[1, -1, 1]]
    """
    return (2 * _unpack_bits(words, k).astype(np.int8) - 1).astype(np.int8)


def pack_unsigned(codes: NDArray[Any], bits: int) -> NDArray[np.uint64]:
    """Pack unsigned codes into bit-planes.

    Args:
        codes: integers `[..., K]`, each `0 .. 2^bits - 1`.
        bits: width of a code, 1 to 8.

    Returns:
        uint64 `[..., bits, words_per_row(K)]`; plane 0 is the lowest bit.

    Raises:
        InputError: bits out of range, codes not integers or out of range.

    >>> pack_unsigned(np.array([0, 1, 2, 3]), 2).tolist()
    [[10], [12]]
    """
    codes = _with_rows(codes)
    if not 1 <= bits <= 8:
        raise InputError(f"bits must be 1 to 8, got {bits}")
    if codes.dtype.kind not in "iu":
        raise InputError(f"codes must be integers, got {codes.dtype}")
    if codes.size and (codes.min() < 0 or codes.max() >= 2**bits):
        raise InputError(f"codes of {bits} bits lie in 0..{2**bits - 1}, got {codes.min()}..{codes.max()}")
    planes = np.stack([(codes >> plane) & 1 for plane in range(bits)], axis=-2)  # [..., bits, K]
    return _pack_bits(planes.astype(bool))


def unpack_unsigned(planes: NDArray[np.uint64], k: int) -> NDArray[np.uint8]:
    """Unpack `k` unsigned codes from each group of bit-planes.

    Args:
        planes: uint64 `[..., bits, words_per_row(k)]`, 1 to 8 planes.
        k: number of codes in a row.

    Returns:
        uint8 `[..., k]`.

    Raises:
        InputError: wrong dtype, row length or number of planes.
    """
    if planes.ndim < 2 or not 1 <= planes.shape[-2] <= 8:
        raise InputError(f"planes must be [..., bits 1 to 8, words], got shape {planes.shape}")
    bits = _unpack_bits(planes, k)  # [..., bits, k]
    weights = (1 << np.arange(planes.shape[-2], dtype=np.uint8))[:, None]  # [bits, 1]
    codes: NDArray[np.uint8] = (bits * weights).sum(axis=-2, dtype=np.uint8)  # [..., k]
    return codes


def _with_rows(x: NDArray[Any]) -> NDArray[Any]:
    x = np.asarray(x)
    if x.ndim < 1:
        raise InputError("an array with at least one dimension is needed, got a scalar")
    if x.dtype.kind not in "biuf":
        raise InputError(f"real numbers are needed, got dtype {x.dtype}")
    return x


def _pack_bits(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    k = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], words_per_row(k) * WORD_BITS), dtype=bool)  # [..., W * 64]
    padded[..., :k] = bits
    octets = np.packbits(padded, axis=-1, bitorder="little")  # [..., W * 8]
    return octets.view(_WORD) if octets.size else np.zeros((*bits.shape[:-1], words_per_row(k)), dtype=_WORD)


def _unpack_bits(words: NDArray[np.uint64], k: int) -> NDArray[np.uint8]:
    words = np.asarray(words)
    if words.dtype != _WORD:
        raise InputError(f"words must be uint64, got {words.dtype}")
    if k < 0 or words.ndim < 1 or words.shape[-1] != words_per_row(k):
        raise InputError(f"{k} elements need {words_per_row(k)} words in a row, got shape {words.shape}")
    if k == 0:
        return np.zeros((*words.shape[:-1], 0), dtype=np.uint8)
    octets = np.ascontiguousarray(words).view(np.uint8)  # [..., W * 8]
    return np.unpackbits(octets, axis=-1, count=k, bitorder="little")
