"""Products with integer weights of 1 to 8 bits: `Linear` and `Conv2d`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bits import WEIGHT_ENCODINGS, BitFormat, WeightEncoding, unpack_weight, weight_range
from ..errors import FileErrorCode, GraphError
from ._checks import Window, check_int32, check_words
from ._fields import PAIR, SIDES, SIZE, WORDS, integer, one_of
from ._op import Op, operation
from ._types import MAX_EXACT, ValueType

ENCODING = one_of(*WEIGHT_ENCODINGS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Product(Op):
    """What `Linear` and `Conv2d` have in common: a matrix of integers as bit-planes.

    Args:
        weight: uint64 `[weight_bits * N, words_per_row(K)]`: the rows of bit-plane 0 (the lowest bit), then those of
            plane 1 ...; the bits past `K` are zero.
        zero_point: the code that means zero, 0 to 255; 0 for a sign input.
        weight_bits: 1 to 8.
        weight_encoding: `"sign"` (bit 1 is +1 and bit 0 is -1, times `2^plane`) or `"twos_complement"`.
    """

    added: ClassVar = {"weight_bits": 2, "weight_encoding": 2}

    weight: Annotated[NDArray[np.uint64], WORDS]
    zero_point: Annotated[int, integer(0, 255)] = 0
    weight_bits: Annotated[int, integer(1, 8)] = 1
    weight_encoding: Annotated[WeightEncoding, ENCODING] = "sign"

    @property
    def row_length(self) -> int:
        """Number of weights of an output channel, `K`."""
        raise NotImplementedError

    @property
    def out_features(self) -> int:
        """Number of output channels, `N`."""
        return len(self.weight) // self.weight_bits

    def integer_weight(self) -> NDArray[np.int32]:
        """Return the weights as integers, int32 `[N, K]`."""
        return unpack_weight(self.weight, self.row_length, self.weight_bits, self.weight_encoding)

    def check(self) -> None:
        """Check the words against the number of weights and planes."""
        if self.weight_encoding == "twos_complement" and self.weight_bits < 2:
            raise GraphError("twos_complement weights have 2 to 8 bits, got 1", FileErrorCode.BAD_ATTRIBUTE)
        if len(self.weight) % self.weight_bits:
            reason = f"weight must have {self.weight_bits} planes of equally many rows, got {len(self.weight)} rows"
            raise GraphError(reason, FileErrorCode.WRONG_TENSOR_SHAPE)
        ValueType((self.out_features,), "int32")  # refuses 0 and too many rows
        check_words("weight", self.weight, self.row_length)

    def _bound(self, x: ValueType) -> int:
        """Return the largest sum, refusing one that is no int32."""
        if not (x.is_sign or x.is_unsigned):
            raise GraphError(f"needs an input of signs or unsigned codes, got {x}")
        largest = x.magnitude(self.zero_point)
        low, high, _ = weight_range(self.weight_bits, self.weight_encoding)
        bound = self.row_length * largest * max(-low, high)
        if bound > MAX_EXACT:  # only then are the weights themselves looked at
            bound = self._bound_of_weights(x)
        return check_int32(bound, f"a sum of {self.row_length} products")

    def _bound_of_weights(self, x: ValueType) -> int:
        """Return the largest sum of these weights.

        No sum of some of its terms is larger, since 0 is among the codes.
        """
        low, high = -1, 1
        if isinstance(x.element, BitFormat) and x.is_unsigned:
            low, high = -self.zero_point, (1 << x.element.bits) - 1 - self.zero_point
        weight = self.integer_weight().astype(np.int64)
        positive, negative = weight.clip(min=0).sum(axis=1), -weight.clip(max=0).sum(axis=1)  # [N]
        most = np.maximum(high * positive - low * negative, high * negative - low * positive)
        return int(most.max())


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(Product):
    """Multiply by a matrix of integers.

    Forward: `y[n] = sum_k (x[k] - zero_point) * w[n, k]`, where `x` are codes, or -1 and +1 with zero_point 0.

    Args:
        weight: as in `Product`.
        zero_point: as in `Product`.
        weight_bits: as in `Product`.
        weight_encoding: as in `Product`.
        in_features: `K`.
    """

    in_features: Annotated[int, SIZE]

    @property
    def row_length(self) -> int:
        """Number of weights of an output channel, `K`."""
        return self.in_features

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `int32[N]`."""
        (x,) = inputs
        if not (x.is_sign or x.is_unsigned) or x.shape != (self.in_features,):
            raise GraphError(f"needs an input of signs or unsigned codes, shape [{self.in_features}], got {x}")
        return ValueType((self.out_features,), "int32", self._bound(x))


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Conv2d(Product):
    """Convolve an image with integer weights.

    A signal `[1, L, C]` is an image of height 1.

    Forward: `y[h, w, n] = sum_k (x[k] - zero_point) * w[n, k]` over the taps `(ky, kx, c)` of the window at `(h, w)`
    and the channels of the group of `n`, `K = kh * kw * in_channels / groups` in this order; a tap in the padding
    contributes `pad_value * w[n, k]`.

    Args:
        weight: as in `Product`.
        zero_point: as in `Product`.
        weight_bits: as in `Product`.
        weight_encoding: as in `Product`.
        in_channels: `C`, a multiple of `groups`.
        kernel: height and width.
        stride: along H and along W.
        dilation: along H and along W.
        padding: top, left, bottom, right.
        pad_value: -1, 0 or +1 for a sign input; else a code less `zero_point`.
        groups: channels of input and output are split into so many parts that do not see each other.
    """

    in_channels: Annotated[int, SIZE]
    kernel: Annotated[tuple[int, int], PAIR]
    stride: Annotated[tuple[int, int], PAIR] = (1, 1)
    dilation: Annotated[tuple[int, int], PAIR] = (1, 1)
    padding: Annotated[tuple[int, int, int, int], SIDES] = (0, 0, 0, 0)
    pad_value: Annotated[int, integer(-255, 255)] = 0
    groups: Annotated[int, SIZE] = 1

    @property
    def row_length(self) -> int:
        """Number of weights of an output channel, `K`."""
        return self.kernel[0] * self.kernel[1] * (self.in_channels // self.groups)

    @property
    def window(self) -> Window:
        """How the kernel moves."""
        return Window(self.kernel, self.stride, self.dilation, self.padding)

    def check(self) -> None:
        """Check the words and the groups."""
        if self.in_channels % self.groups:
            reason = f"in_channels {self.in_channels} must be a multiple of groups {self.groups}"
            raise GraphError(reason, FileErrorCode.BAD_ATTRIBUTE)
        super().check()
        if self.out_features % self.groups:
            reason = f"the {self.out_features} output channels must be a multiple of groups {self.groups}"
            raise GraphError(reason, FileErrorCode.WRONG_TENSOR_SHAPE)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `int32[Ho, Wo, N]`."""
        (x,) = inputs
        if not (x.is_sign or x.is_unsigned) or len(x.shape) != 3 or x.channels != self.in_channels:
            needed = f"signs or unsigned codes, shape [H, W, {self.in_channels}]"
            raise GraphError(f"needs an input of {needed}, got {x}")
        bound = self._bound(x)
        self._check_pad_value(x)
        return ValueType((*self.window.places(x), self.out_features), "int32", bound)

    def _check_pad_value(self, x: ValueType) -> None:
        low, high = -1, 1
        if isinstance(x.element, BitFormat) and x.is_unsigned:
            low, high = -self.zero_point, (1 << x.element.bits) - 1 - self.zero_point
        if not low <= self.pad_value <= high:
            raise GraphError(
                f"pad_value must be {low} to {high} for {x} of zero_point {self.zero_point}, got {self.pad_value}"
            )
