"""`BitFormat`: the single truth of a low-bit number, spoken by trainer, packer, file and kernels.

A format maps integer codes `0 .. 2^bits - 1` to real values. It holds no data and no torch, so every part can use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Encoding = Literal["sign", "unsigned", "twos_complement", "power_of_two"]
ENCODINGS: tuple[Encoding, ...] = get_args(Encoding)


@dataclass(frozen=True)
class BitFormat:
    """How the integer codes of a low-bit number map to real values.

    Args:
        bits: width of a code, 1 to 8.
        encoding: `"sign"` (1 bit, codes 0 and 1 mean -1 and +1), `"unsigned"` (the code itself), `"twos_complement"`,
            or `"power_of_two"` (0 for code 0; else the top bit is the sign and the rest, less 1, the exponent).
        scale: the real value of one step, > 0.

    Raises:
        InputError: bits, encoding or scale out of range.

    >>> BitFormat(1, "sign").values().tolist()
    [-1.0, 1.0]
    >>> BitFormat(2, "twos_complement", scale=0.5).values().tolist()
    [0.0, 0.5, -1.0, -0.5]
    """

    bits: int
    encoding: Encoding
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise InputError(f"unknown encoding {self.encoding!r}; use one of {', '.join(ENCODINGS)}")
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= 8:
            raise InputError(f"bits must be an integer from 1 to 8, got {self.bits!r}")
        if self.encoding == "sign" and self.bits != 1:
            raise InputError(f"the sign encoding has 1 bit, got {self.bits}")
        if self.encoding == "power_of_two" and self.bits < 2:
            raise InputError("the power_of_two encoding needs at least 2 bits: a sign and an exponent")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"scale must be finite and positive, got {self.scale!r}")

    def __str__(self) -> str:
        letter = {"sign": "u", "unsigned": "u", "twos_complement": "s", "power_of_two": "p"}[self.encoding]
        return f"{letter}{self.bits}"

    def values(self) -> NDArray[np.float64]:
        """Return the real value of each code, float64 `[2^bits]`."""
        codes = np.arange(2**self.bits, dtype=np.int64)
        return _integer_values(codes, self.bits, self.encoding) * self.scale


def _integer_values(codes: NDArray[np.int64], bits: int, encoding: Encoding) -> NDArray[np.float64]:
    half = 2 ** (bits - 1)
    if encoding == "sign":
        return (2 * codes - 1).astype(np.float64)
    if encoding == "unsigned":
        return codes.astype(np.float64)
    if encoding == "twos_complement":
        return np.where(codes >= half, codes - 2 * half, codes).astype(np.float64)
    magnitude = np.where(codes % half == 0, 0.0, np.exp2((codes % half) - 1.0))
    return np.where(codes >= half, -magnitude, magnitude)
