"""The ops of a packed multilayer perceptron. `docs/format.md` says the same for readers in other languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..bits import WORD_BITS, BitFormat, words_per_row
from ..errors import FileErrorCode, GraphError
from ._fields import INTEGERS, MASK, REALS, SHAPE, SIZE, TRUTH, WORDS, integer, one_of
from ._op import Op, operation
from ._types import ValueType

SIGN = BitFormat(1, "sign")
MAX_EXACT = 2**24
"""Every integer up to this magnitude is a float32, so a float32 trainer's sums are exact in any order."""


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Input(Op):
    """The value a caller gives: raw bytes or real numbers.

    Exactly one in a graph, and its first op.

    Args:
        inputs: `()`.
        shape: without the batch.
        dtype: `"uint8"` or `"float32"`.

    >>> Input((), "x", shape=(28, 28), dtype="uint8").infer()
    ValueType(shape=(28, 28), element=BitFormat(bits=8, encoding='unsigned', scale=1.0))
    """

    input_count: ClassVar[int] = 0

    shape: Annotated[tuple[int, ...], SHAPE]
    dtype: Annotated[Literal["uint8", "float32"], one_of("uint8", "float32")]

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `u8[shape]` or `float32[shape]`."""
        return ValueType(self.shape, BitFormat(8, "unsigned") if self.dtype == "uint8" else "float32")


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten(Op):
    """Join all dimensions but the batch, in row-major order."""

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return the same element in one dimension."""
        (x,) = inputs
        return ValueType((x.size,), x.element)


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
    """Quantize real numbers in [-1, 1) to unsigned codes.

    Forward: `code = clip(round_half_even(x * h), -h, h - 1) + h` with `h = 2^(bits - 1)`; code `h` is zero.

    Args:
        bits: 1 to 8.
    """

    bits: Annotated[int, integer(1, 8)] = 8

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return unsigned codes of the same shape."""
        (x,) = inputs
        x.expect("float32")
        return ValueType(x.shape, BitFormat(self.bits, "unsigned"))


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(Op):
    """Multiply by a matrix of -1 and +1.

    Forward: `y[n] = sum_k (x[k] - zero_point) * weight[n, k]`, where `x` are codes, or -1 and +1 with zero_point 0.

    Args:
        weight: uint64 `[N, words_per_row(K)]`, packed signs; the bits past `K` are zero.
        in_features: `K`.
        zero_point: the code that means zero, 0 to 255; 0 for a sign input.
    """

    weight: Annotated[NDArray[np.uint64], WORDS]
    in_features: Annotated[int, SIZE]
    zero_point: Annotated[int, integer(0, 255)] = 0

    @property
    def out_features(self) -> int:
        """Number of output channels, `N`."""
        return len(self.weight)

    def check(self) -> None:
        """Check the words against `in_features`."""
        ValueType((self.out_features,), "int32")  # refuses 0 and too many rows
        _check_words("weight", self.weight, self.in_features)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `int32[N]`."""
        (x,) = inputs
        if not (x.is_sign or x.is_unsigned) or x.shape != (self.in_features,):
            raise GraphError(f"needs an input of signs or unsigned codes, shape [{self.in_features}], got {x}")
        _check_exact(self.in_features, self._max_magnitude(x))
        return ValueType((self.out_features,), "int32")

    def _max_magnitude(self, x: ValueType) -> int:
        if x.is_sign:
            if self.zero_point != 0:
                raise GraphError(f"zero_point must be 0 for a sign input, got {self.zero_point}")
            return 1
        assert isinstance(x.element, BitFormat)
        top = (1 << x.element.bits) - 1
        if self.zero_point > top:
            raise GraphError(f"zero_point must be a code of the input, 0 to {top}, got {self.zero_point}")
        return max(self.zero_point, top - self.zero_point)


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
        _check_words("flips", self.flips, len(self.thresholds))

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `sign[N]`."""
        (x,) = inputs
        x.expect("int32", self.thresholds.shape)
        return ValueType(x.shape, SIGN)


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Affine(Op):
    """Scale and shift integers channel by channel in float32.

    Forward: `y = float32(x) * multiplier + addend`.

    Args:
        multiplier: float32 `[N]`.
        addend: float32 `[N]`.
        fused: the product and the sum are rounded once (FMA), else each by itself.
    """

    multiplier: Annotated[NDArray[np.float32], REALS]
    addend: Annotated[NDArray[np.float32], REALS]
    fused: Annotated[bool, TRUTH]

    def check(self) -> None:
        """Check the arrays against each other."""
        ValueType(self.multiplier.shape, "float32")  # refuses 0 and too many channels
        _check_shape("addend", self.addend, self.multiplier.shape)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `float32[N]`."""
        (x,) = inputs
        x.expect("int32", self.multiplier.shape)
        return ValueType(x.shape, "float32")


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise GraphError(f"{name} must have shape {shape}, got {array.shape}", FileErrorCode.WRONG_TENSOR_SHAPE)


def _check_words(name: str, words: NDArray[np.uint64], k: int) -> None:
    _check_shape(name, words, (*words.shape[:-1], words_per_row(k)))
    tail_bits = k % WORD_BITS
    if tail_bits and np.any(words[..., -1] >> np.uint64(tail_bits)):
        reason = f"{name} has bits set past the {k} elements of a row; they must be zero"
        raise GraphError(reason, FileErrorCode.DIRTY_TAIL_BITS)


def _check_exact(k: int, max_magnitude: int) -> None:
    if k * max_magnitude > MAX_EXACT:
        reason = f"a sum of {k} terms up to {max_magnitude} can pass 2^24, where float32 training is no longer exact"
        raise GraphError(f"{reason}; use fewer input features", FileErrorCode.INEXACT_SUM)
