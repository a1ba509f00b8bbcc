"""Ops on float32, for outputs and for what cannot stay in integers; each rounds as IEEE 754 says, where it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import FileErrorCode, GraphError
from ._checks import check_shape
from ._fields import REAL, REALS, TEXT, TRUTH
from ._op import Op, operation
from ._types import ValueType


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Affine(Op):
    """Scale and shift integers or real numbers channel by channel in float32.

    Forward: `y = float32(x) * multiplier + addend`, an int32 past 2^24 rounded to the nearest, ties to even.

    Args:
        multiplier: float32 `[N]`.
        addend: float32 `[N]`; -0.0 adds nothing at all.
        fused: the product and the sum are rounded once (FMA), else each by itself.
    """

    multiplier: Annotated[NDArray[np.float32], REALS]
    addend: Annotated[NDArray[np.float32], REALS]
    fused: Annotated[bool, TRUTH]

    def check(self) -> None:
        """Check the arrays against each other."""
        ValueType(self.multiplier.shape, "float32")  # refuses 0 and too many channels
        check_shape("addend", self.addend, self.multiplier.shape)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `float32[..., N]`."""
        (x,) = inputs
        x.expect_channels("float32" if x.element == "float32" else "int32", len(self.multiplier))
        return ValueType(x.shape, "float32")


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class AddReal(Op):
    """Add two real values of one shape, rounded once.

    Args:
        reason: why it is not done in integers, in words, for messages; may be empty.
    """

    input_count: ClassVar[int] = 2

    reason: Annotated[str, TEXT] = ""

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return float32 of the same shape."""
        a, b = inputs
        a.expect("float32")
        b.expect("float32", a.shape)
        return ValueType(a.shape, "float32")


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class PRelu(Op):
    """Scale what is not positive.

    Forward: `y = x if x > 0 else slope * x`, channel by channel; NaN stays NaN.

    Args:
        slope: float32 `[N]`.
    """

    slope: Annotated[NDArray[np.float32], REALS]

    def check(self) -> None:
        """Refuse no channel and too many."""
        ValueType(self.slope.shape, "float32")

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `float32[..., N]`."""
        (x,) = inputs
        x.expect_channels("float32", len(self.slope))
        return ValueType(x.shape, "float32")


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Clamp(Op):
    """Bound real numbers: `low` where `x < low`, `high` where `x > high`, else `x`.

    NaN stays NaN.

    Args:
        low: a number or minus infinity.
        high: a number or infinity, not less than `low`.
    """

    low: Annotated[float, REAL]
    high: Annotated[float, REAL]

    def check(self) -> None:
        """Refuse bounds that leave nothing."""
        if self.low > self.high:
            raise GraphError(f"low must not exceed high, got {self.low} and {self.high}", FileErrorCode.BAD_ATTRIBUTE)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return float32 of the same shape."""
        (x,) = inputs
        x.expect("float32")
        return ValueType(x.shape, "float32")
