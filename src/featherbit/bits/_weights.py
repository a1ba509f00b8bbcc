"""Pack matrices of small integers into bit-planes of rows, as the products of a packed network read them.

Planes are the outer dimension (plane 0, the lowest bit, of all rows; then plane 1), so that a product of k-bit operands
is a sum of products of 1-bit matrices.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._pack import pack_unsigned, unpack_unsigned, words_per_row

WeightEncoding = Literal["sign", "twos_complement"]
WEIGHT_ENCODINGS: tuple[WeightEncoding, ...] = get_args(WeightEncoding)


def pack_weight(weight: NDArray[Any], bits: int, encoding: WeightEncoding) -> NDArray[np.uint64]:
    """Pack a matrix of integers into bit-planes.

    Args:
        weight: integers `[N, K]`. `"sign"`: odd numbers from `-(2^bits - 1)` to `2^bits - 1` (1 bit: -1 and +1);
            `"twos_complement"`: `-2^(bits-1)` to `2^(bits-1) - 1`.
        bits: 1 to 8; 2 to 8 for `"twos_complement"`.
        encoding: what the planes mean.

    Returns:
        uint64 `[bits * N, words_per_row(K)]`, plane-major.

    Raises:
        InputError: another rank or dtype, or a number that the encoding does not have.

    >>> pack_weight(np.array([[-3, 1, 3]]), 2, "sign").tolist()
    [[4], [6]]
    """
    weight = np.asarray(weight)
    if weight.ndim != 2 or weight.dtype.kind not in "iu":
        raise InputError(f"a matrix of integers is needed, got {weight.dtype} of shape {weight.shape}")
    low, high, step = weight_range(bits, encoding)
    numbers = weight.astype(np.int64)
    wrong = (numbers < low) | (numbers > high) | ((numbers - low) % step != 0)
    if wrong.any():
        raise InputError(f"weights of {bits} bits {encoding} lie in {low}..{high} by {step}, got {numbers[wrong][0]}")
    codes = (numbers - low) // step if encoding == "sign" else numbers % 2**bits  # [N, K]
    planes = pack_unsigned(codes, bits)  # [N, bits, W]
    rows = bits * len(weight)
    return np.ascontiguousarray(planes.transpose(1, 0, 2)).reshape(rows, planes.shape[-1])  # [bits * N, W]


def unpack_weight(planes: NDArray[np.uint64], k: int, bits: int, encoding: WeightEncoding) -> NDArray[np.int32]:
    """Unpack the integers of each row of bit-planes.

    Args:
        planes: uint64 `[bits * N, words_per_row(k)]`, plane-major.
        k: number of elements in a row.
        bits: 1 to 8; 2 to 8 for `"twos_complement"`.
        encoding: what the planes mean.

    Returns:
        int32 `[N, k]`.

    Raises:
        InputError: wrong dtype, shape, bits or encoding.

    >>> unpack_weight(np.array([[4], [6]], dtype=np.uint64), 3, 2, "sign").tolist()
    [[-3, 1, 3]]
    """
    low, _, step = weight_range(bits, encoding)
    if planes.ndim != 2 or len(planes) % bits or planes.shape[1] != words_per_row(k):
        raise InputError(f"{bits} planes of {k} elements cannot have shape {planes.shape}")
    grouped = planes.reshape(bits, len(planes) // bits, planes.shape[1]).transpose(1, 0, 2)  # [N, bits, W]
    codes = unpack_unsigned(grouped, k).astype(np.int32)  # [N, k]
    if encoding == "sign":
        return (codes * step + low).astype(np.int32)
    return np.where(codes >= -low, codes + 2 * low, codes).astype(np.int32)


def weight_range(bits: int, encoding: WeightEncoding) -> tuple[int, int, int]:
    """Return the least and the greatest integer of an encoding, and the step between.

    Args:
        bits: 1 to 8; 2 to 8 for `"twos_complement"`.
        encoding: `"sign"` or `"twos_complement"`.

    Raises:
        InputError: bits or encoding out of range.

    >>> weight_range(1, "sign"), weight_range(3, "sign"), weight_range(3, "twos_complement")
    ((-1, 1, 2), (-7, 7, 2), (-4, 3, 1))
    """
    if encoding not in WEIGHT_ENCODINGS:
        raise InputError(f"unknown encoding {encoding!r}; use one of {', '.join(WEIGHT_ENCODINGS)}")
    fewest = 1 if encoding == "sign" else 2
    if isinstance(bits, bool) or not isinstance(bits, int) or not fewest <= bits <= 8:
        raise InputError(f"{encoding} weights have {fewest} to 8 bits, got {bits!r}")
    if encoding == "sign":
        return 1 - 2**bits, 2**bits - 1, 2
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 1
