"""Pooling over windows of an image `[H, W, C]`, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ._checks import Window, check_exact
from ._fields import PAIR, SIDES, integer
from ._op import Op, operation
from ._types import ValueType


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool2d(Op):
    """Take the greatest element of each window.

    Places in the padding are ignored, NaN wins.

    Args:
        kernel: height and width.
        stride: along H and along W.
        dilation: along H and along W.
        padding: top, left, bottom, right; no window may lie in the padding whole.
    """

    kernel: Annotated[tuple[int, int], PAIR]
    stride: Annotated[tuple[int, int], PAIR] = (1, 1)
    dilation: Annotated[tuple[int, int], PAIR] = (1, 1)
    padding: Annotated[tuple[int, int, int, int], SIDES] = (0, 0, 0, 0)

    @property
    def window(self) -> Window:
        """How the window moves."""
        return Window(self.kernel, self.stride, self.dilation, self.padding)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return the same element, `[Ho, Wo, C]`."""
        (x,) = inputs
        places = self.window.places(x)
        self.window.expect_no_empty_window(x)
        return ValueType((*places, x.channels), x.element, x.bound)


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class SumPool2d(Op):
    """Sum the integers of each window: the sum of `x - zero_point`.

    Places in the padding count 0.

    Args:
        kernel: height and width.
        stride: along H and along W.
        padding: top, left, bottom, right.
        zero_point: the code that means zero; 0 for signs and int32.
    """

    kernel: Annotated[tuple[int, int], PAIR]
    stride: Annotated[tuple[int, int], PAIR] = (1, 1)
    padding: Annotated[tuple[int, int, int, int], SIDES] = (0, 0, 0, 0)
    zero_point: Annotated[int, integer(0, 255)] = 0

    @property
    def window(self) -> Window:
        """How the window moves."""
        return Window(self.kernel, self.stride, (1, 1), self.padding)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `int32[Ho, Wo, C]`."""
        (x,) = inputs
        taps = self.kernel[0] * self.kernel[1]
        bound = check_exact(taps * x.magnitude(self.zero_point), f"a sum of {taps} places")
        return ValueType((*self.window.places(x), x.channels), "int32", bound)
