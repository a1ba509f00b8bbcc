"""What flows between ops: `ValueType`, the shape and element of one value.

Shapes leave out the batch dimension: every value of a graph has the same batch, known only when it runs. Sizes are
bounded here, once, so that no reader in any language needs more than 32 bits for one of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ..bits import BitFormat
from ..errors import FileErrorCode, GraphError

MAX_SIZE = 2**31 - 1
"""No dimension, and no product of the dimensions of one value, is larger."""

MAX_RANK = 8
"""No value has more dimensions, the batch left out."""

MAX_EXACT = 2**24
"""Every integer up to this magnitude is a float32, so a float32 trainer's sums are exact in any order."""

MAX_SUM = 2**31 - 2
"""No int32 is larger in magnitude, so that the threshold 2^31 - 1 is one that none reaches."""

Element = BitFormat | Literal["int32", "float32", "token"]


@dataclass(frozen=True)
class ValueType:
    """The type of a value: its shape without the batch, and what one element is.

    Args:
        shape: 1 to 8 dimensions, each 1 to 2^31 - 1, and so their product.
        element: a `BitFormat`, `"int32"`, `"float32"`, or `"token"`, a number of a row in a table.
        bound: no int32 of the value has a larger magnitude; it follows from the ops before it and is not compared.

    Raises:
        GraphError: rank or size out of range.

    >>> str(ValueType((28, 28), BitFormat(8, "unsigned")))
    'u8[28, 28]'
    """

    shape: tuple[int, ...]
    element: Element
    bound: int = field(default=MAX_EXACT, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.shape) <= MAX_RANK:
            raise GraphError(
                f"a shape has 1 to {MAX_RANK} dimensions, got {list(self.shape)}", FileErrorCode.BAD_ATTRIBUTE
            )
        if min(self.shape) < 1:
            raise GraphError(f"every dimension must be at least 1, got {list(self.shape)}", FileErrorCode.BAD_ATTRIBUTE)
        if self.size > MAX_SIZE:
            raise GraphError(f"shape {list(self.shape)} has more than {MAX_SIZE} elements", FileErrorCode.SIZE_OVERFLOW)

    def __str__(self) -> str:
        return f"{self.kind}{list(self.shape)}"

    @property
    def size(self) -> int:
        """Number of elements of one item of the batch."""
        return math.prod(self.shape)

    @property
    def kind(self) -> str:
        """The element in a word: `"sign"`, `"u8"`, `"int32"`, `"float32"` ..."""
        return "sign" if self.is_sign else str(self.element)

    @property
    def is_sign(self) -> bool:
        """The elements are -1 and +1."""
        return isinstance(self.element, BitFormat) and self.element.encoding == "sign"

    @property
    def is_unsigned(self) -> bool:
        """The elements are unsigned codes of 1 to 8 bits."""
        return isinstance(self.element, BitFormat) and self.element.encoding == "unsigned"

    @property
    def is_integer(self) -> bool:
        """The elements are signs, unsigned codes or int32."""
        return self.is_sign or self.is_unsigned or self.element == "int32"

    @property
    def channels(self) -> int:
        """The last dimension."""
        return self.shape[-1]

    def magnitude(self, zero_point: int = 0) -> int:
        """Return the largest magnitude of `element - zero_point`.

        Args:
            zero_point: the code that means zero; 0 for signs and int32.

        Raises:
            GraphError: no integers, or a zero point that is no code.
        """
        if not self.is_integer:
            raise GraphError(f"needs an input of signs, unsigned codes or int32, got {self}")
        if self.is_unsigned:
            assert isinstance(self.element, BitFormat)
            top = (1 << self.element.bits) - 1
            if not 0 <= zero_point <= top:
                raise GraphError(f"zero_point must be a code of the input, 0 to {top}, got {zero_point}")
            return max(zero_point, top - zero_point)
        if zero_point != 0:
            raise GraphError(f"zero_point must be 0 for a {self.kind} input, got {zero_point}")
        return 1 if self.is_sign else self.bound

    def expect_channels(self, kind: str, channels: int) -> None:
        """Refuse a value of another kind or number of channels, the last dimension.

        Raises:
            GraphError: what came and what is needed.
        """
        if self.kind != kind or self.channels != channels:
            raise GraphError(f"needs an input {kind}[..., {channels}], got {self}", FileErrorCode.WRONG_VALUE_TYPE)

    def expect(self, kind: str, shape: tuple[int, ...] | None = None) -> None:
        """Refuse a value of another kind or shape; `shape=None` lets any shape pass.

        Raises:
            GraphError: what came and what is needed.
        """
        if self.kind != kind or (shape is not None and self.shape != shape):
            needed = kind if shape is None else f"{kind}{list(shape)}"
            raise GraphError(f"needs an input {needed}, got {self}", FileErrorCode.WRONG_VALUE_TYPE)
