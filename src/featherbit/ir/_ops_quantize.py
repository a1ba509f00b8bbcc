"""Ops between real numbers and codes: `PackSign`, `QuantizeLinear` and back, `ToReal`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from ..bits import BitFormat
from ..errors import FileErrorCode, GraphError
from ._fields import REAL, integer
from ._op import Op, operation
from ._ops_integers import SIGN
from ._types import ValueType

_FROM_BITS: Any = None
_MOST_EXPONENT = 100  # an integer times such a scale is no subnormal float32


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class PackSign(Op):
    """Binarize real numbers: +1 where `x >= 0`, else -1 (zero is +1, NaN is -1)."""

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `sign` of the same shape."""
        (x,) = inputs
        x.expect("float32")
        return ValueType(x.shape, SIGN)


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class QuantizeLinear(Op):
    """Quantize real numbers to unsigned codes.

    Forward: `code = clip(round_half_even(x / step), low, low + 2^bits - 1) - low`, the quotient a float32; NaN is
    code 0. Code `-low` is zero.

    Args:
        bits: 1 to 8.
        step: the real value of one step, > 0 and finite; None is `2^(1 - bits)`, for numbers in [-1, 1).
        low: the least integer, -255 to 255; None is `-2^(bits - 1)`.
    """

    added = {"step": 2, "low": 2}  # noqa: RUF012 (declared ClassVar in Op)

    bits: Annotated[int, integer(1, 8)] = 8
    step: Annotated[float, REAL] = _FROM_BITS
    low: Annotated[int, integer(-255, 255)] = _FROM_BITS

    def __post_init__(self) -> None:
        if isinstance(self.bits, int) and 1 <= self.bits <= 8:
            for name, value in (("step", 2.0 ** (1 - self.bits)), ("low", -(2 ** (self.bits - 1)))):
                if getattr(self, name) is _FROM_BITS:
                    object.__setattr__(self, name, value)
        super().__post_init__()

    def check(self) -> None:
        """Refuse a step that divides nothing."""
        if not (self.step > 0 and math.isfinite(self.step)):
            raise GraphError(f"step must be finite and positive, got {self.step}", FileErrorCode.BAD_ATTRIBUTE)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return unsigned codes of the same shape."""
        (x,) = inputs
        x.expect("float32")
        return ValueType(x.shape, BitFormat(self.bits, "unsigned"))


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class ToReal(Op):
    """Turn integers into real numbers: `y = float32(scale * (x - zero_point))`.

    It is exact up to 2^24 in magnitude; a larger int32 is rounded to the nearest, ties to even.

    Args:
        scale: a power of two, 2^-100 to 2^100.
        zero_point: the code that means zero; 0 for signs and int32.
    """

    scale: Annotated[float, REAL] = 1.0
    zero_point: Annotated[int, integer(0, 255)] = 0

    def check(self) -> None:
        """Refuse a scale that would round."""
        mantissa, exponent = math.frexp(self.scale)
        if mantissa != 0.5 or abs(exponent - 1) > _MOST_EXPONENT:
            reason = f"scale must be a power of two from 2^-100 to 2^100, got {self.scale}"
            raise GraphError(reason, FileErrorCode.BAD_ATTRIBUTE)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return float32 of the same shape."""
        (x,) = inputs
        x.magnitude(self.zero_point)  # refuses reals and zero points that are no code
        return ValueType(x.shape, "float32")
