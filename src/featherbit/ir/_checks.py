"""Checks that several ops share: array shapes, tails of packed rows, sizes of sums, and where a window moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import WORD_BITS, words_per_row
from ..errors import FileErrorCode, GraphError
from ._types import MAX_EXACT, MAX_SUM, ValueType


def check_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if array.shape != shape:
        raise GraphError(f"{name} must have shape {shape}, got {array.shape}", FileErrorCode.WRONG_TENSOR_SHAPE)


def check_words(name: str, words: NDArray[np.uint64], k: int) -> None:
    """Refuse rows of packed bits that are not `k` bits and zeros after them."""
    check_shape(name, words, (*words.shape[:-1], words_per_row(k)))
    tail_bits = k % WORD_BITS
    if tail_bits and np.any(words[..., -1] >> np.uint64(tail_bits)):
        reason = f"{name} has bits set past the {k} elements of a row; they must be zero"
        raise GraphError(reason, FileErrorCode.DIRTY_TAIL_BITS)


def check_exact(bound: int, what: str) -> int:
    """Return the bound of a sum, refusing one that float32 cannot hold exactly."""
    if bound > MAX_EXACT:
        reason = f"{what} can reach {bound}, past 2^24, where float32 training is no longer exact"
        raise GraphError(f"{reason}; use fewer input features", FileErrorCode.INEXACT_SUM)
    return bound


def check_int32(bound: int, what: str) -> int:
    """Return the bound of a sum, refusing one that may not fit an int32."""
    if bound > MAX_SUM:
        reason = f"{what} can reach {bound}, past 2^31 - 2, the largest int32 that a threshold can be above"
        raise GraphError(f"{reason}; use fewer input features", FileErrorCode.INEXACT_SUM)
    return bound


def expect_image(x: ValueType) -> None:
    """Refuse a value that is not `[H, W, C]`."""
    if len(x.shape) != 3:
        raise GraphError(f"needs an input [H, W, C], got {x}")


@dataclass(frozen=True)
class Window:
    """How a window moves over an image `[H, W, C]`; each pair is along H and along W.

    Args:
        kernel: taps.
        stride: from one output to the next.
        dilation: from one tap to the next.
        padding: places added at the top, left, bottom and right.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    def places(self, x: ValueType) -> tuple[int, int]:
        """Return the height and width of the output.

        Raises:
            GraphError: no image, or one smaller than the window.
        """
        expect_image(x)
        heights, widths = (self._along(axis, x.shape[axis]) for axis in (0, 1))
        return heights, widths

    def expect_no_empty_window(self, x: ValueType) -> None:
        """Refuse a window that would see padding only."""
        for axis in (0, 1):
            size, before = x.shape[axis], self.padding[axis]
            stride, dilation = self.stride[axis], self.dilation[axis]
            last = (self._along(axis, size) - 1) * stride - before
            first = range(-before, min(last, -1) + 1, stride)  # windows that begin in the padding
            steps = ((-(start // dilation), start) for start in first)  # the first tap that is not before the image
            if last >= size or any(tap >= self.kernel[axis] or start + tap * dilation >= size for tap, start in steps):
                raise GraphError(f"padding {self.padding} is so wide that a window of {x} sees nothing else")

    def _along(self, axis: int, size: int) -> int:
        reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1
        padded = size + self.padding[axis] + self.padding[axis + 2]
        if padded < reach:
            side = ("height", "width")[axis]
            raise GraphError(f"a window of {reach} places is larger than the padded {side} {padded} of the input")
        return (padded - reach) // self.stride[axis] + 1
