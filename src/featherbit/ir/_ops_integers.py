"""Ops on int32: thresholds, which turn sums into codes, and sums of two values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bits import BitFormat
from ..errors import FileErrorCode, GraphError
from ._checks import check_exact, check_shape, check_words
from ._fields import INTEGER_ROWS, INTEGERS, MASK, integer
from ._op import Op, operation
from ._types import MAX_EXACT, ValueType

SIGN = BitFormat(1, "sign")


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Threshold(Op):
    """Binarize integers channel by channel: bit = `(x >= threshold) XOR flip`.

    Bit 1 is +1. A channel that is always +1 has threshold -2^31 and flip 0; one that is always -1 the same with flip 1.

    Args:
        thresholds: int32 `[N]`.
        flips: uint64 `[words_per_row(N)]`, one bit per channel; the bits past `N` are zero.
    """

    thresholds: Annotated[NDArray[np.int32], INTEGERS]
    flips: Annotated[NDArray[np.uint64], MASK]

    def check(self) -> None:
        """Check the flips against the thresholds."""
        ValueType(self.thresholds.shape, "int32")  # refuses 0 and too many channels
        check_words("flips", self.flips, len(self.thresholds))

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `sign[..., N]`."""
        (x,) = inputs
        x.expect_channels("int32", len(self.thresholds))
        return ValueType(x.shape, SIGN)


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class MultiThreshold(Op):
    """Quantize integers channel by channel.

    Forward: `code = sum_j ((x >= thresholds[n, j]) XOR flips[n])`.

    A threshold that every sum reaches is -2^31, one that none reaches 2^31 - 1.

    Args:
        bits: of the codes, 1 to 8.
        thresholds: int32 `[N, 2^bits - 1]`, each row ascending.
        flips: uint64 `[words_per_row(N)]`, one bit per channel; the bits past `N` are zero.
    """

    bits: Annotated[int, integer(1, 8)]
    thresholds: Annotated[NDArray[np.int32], INTEGER_ROWS]
    flips: Annotated[NDArray[np.uint64], MASK]

    def check(self) -> None:
        """Check the arrays against the bits and each other."""
        channels = len(self.thresholds)
        ValueType((channels,), "int32")  # refuses 0 and too many channels
        check_shape("thresholds", self.thresholds, (channels, 2**self.bits - 1))
        if (self.thresholds[:, 1:] < self.thresholds[:, :-1]).any():
            raise GraphError("each row of thresholds must ascend", FileErrorCode.BAD_TENSOR_VALUE)
        check_words("flips", self.flips, channels)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return unsigned codes `[..., N]`."""
        (x,) = inputs
        x.expect_channels("int32", len(self.thresholds))
        return ValueType(x.shape, BitFormat(self.bits, "unsigned"))


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Add(Op):
    """Add two integer values of one shape.

    Forward: `y = a_multiplier * (a - a_zero_point) + b_multiplier * (b - b_zero_point)`.

    Args:
        a_multiplier: not 0; a power of two, or its negative, where speed matters.
        b_multiplier: likewise.
        a_zero_point: the code of `a` that means zero; 0 for signs and int32.
        b_zero_point: likewise.
    """

    input_count: ClassVar[int] = 2

    a_multiplier: Annotated[int, integer(-MAX_EXACT, MAX_EXACT)] = 1
    b_multiplier: Annotated[int, integer(-MAX_EXACT, MAX_EXACT)] = 1
    a_zero_point: Annotated[int, integer(0, 255)] = 0
    b_zero_point: Annotated[int, integer(0, 255)] = 0

    def check(self) -> None:
        """Refuse a multiplier of 0."""
        if 0 in (self.a_multiplier, self.b_multiplier):
            raise GraphError("a multiplier must not be 0", FileErrorCode.BAD_ATTRIBUTE)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return int32 of the same shape."""
        a, b = inputs
        if a.shape != b.shape:
            raise GraphError(f"needs two inputs of one shape, got {a} and {b}")
        bound = abs(self.a_multiplier) * a.magnitude(self.a_zero_point)
        bound += abs(self.b_multiplier) * b.magnitude(self.b_zero_point)
        return ValueType(a.shape, "int32", check_exact(bound, "the sum"))
