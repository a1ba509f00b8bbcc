"""Ops that bring values in or move elements about, and compute nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..bits import BitFormat
from ..errors import FileErrorCode, GraphError
from ._checks import check_shape
from ._fields import INTEGERS, SHAPE, one_of
from ._op import Op, operation
from ._types import Element, ValueType


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Input(Op):
    """The value a caller gives: raw bytes, real numbers or tokens.

    Exactly one in a graph, and its first op.

    Args:
        inputs: `()`.
        shape: without the batch.
        dtype: `"uint8"`, `"float32"`, or `"int32"` for tokens.

    >>> Input((), "x", shape=(28, 28), dtype="uint8").infer()
    ValueType(shape=(28, 28), element=BitFormat(bits=8, encoding='unsigned', scale=1.0))
    """

    input_count: ClassVar[int] = 0

    shape: Annotated[tuple[int, ...], SHAPE]
    dtype: Annotated[Literal["uint8", "float32", "int32"], one_of("uint8", "float32", "int32")]

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `u8[shape]`, `float32[shape]` or `token[shape]`."""
        elements: dict[str, Element] = {"uint8": BitFormat(8, "unsigned"), "float32": "float32", "int32": "token"}
        return ValueType(self.shape, elements[self.dtype])


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Flatten(Op):
    """Join all dimensions but the batch, in row-major order."""

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return the same element in one dimension."""
        (x,) = inputs
        return ValueType((x.size,), x.element, x.bound)


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelsLast(Op):
    """Move the first dimension to the end.

    So `[C, *S]` becomes `[*S, C]`, and `[C, L]` becomes `[1, L, C]`.

    >>> x = ValueType((3, 32, 30), "float32")
    >>> str(ChannelsLast(("x",), "y").infer(x))
    'float32[32, 30, 3]'
    """

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return the same element, channels last."""
        (x,) = inputs
        if len(x.shape) < 2:
            raise GraphError(f"needs an input [C, L] or [C, H, W], got {x}")
        places = x.shape[1:] if len(x.shape) > 2 else (1, x.shape[1])
        return ValueType((*places, x.shape[0]), x.element, x.bound)


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Rearrange(Op):
    """Take elements by their index: `y.flat[i] = x.flat[order[i]]`.

    It stands for any reshape, permutation or slice that no other op does.

    Args:
        shape: of the output.
        order: int32 `[prod(shape)]`, each 0 to `x.size - 1`.
    """

    shape: Annotated[tuple[int, ...], SHAPE]
    order: Annotated[NDArray[np.int32], INTEGERS]

    def check(self) -> None:
        """Check the order against the shape."""
        check_shape("order", self.order, (math.prod(self.shape),))
        if self.order.min() < 0:
            raise GraphError(f"order has the index {self.order.min()}", FileErrorCode.BAD_TENSOR_VALUE)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return the same element in the new shape."""
        (x,) = inputs
        if self.order.max() >= x.size:
            reason = f"order has the index {self.order.max()}, but the input {x} has {x.size} elements"
            raise GraphError(reason, FileErrorCode.BAD_TENSOR_VALUE)
        return ValueType(self.shape, x.element, x.bound)


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Concat(Op):
    """Join two or more values along their channels, the last dimension."""

    input_count: ClassVar[int] = 2
    more_inputs: ClassVar[bool] = True

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return the same element with all channels."""
        first = inputs[0]
        for x in inputs[1:]:
            if x.kind != first.kind or x.shape[:-1] != first.shape[:-1]:
                raise GraphError(f"needs inputs of one element, height and width, got {first} and {x}")
        channels = sum(x.channels for x in inputs)
        return ValueType((*first.shape[:-1], channels), first.element, max(x.bound for x in inputs))
