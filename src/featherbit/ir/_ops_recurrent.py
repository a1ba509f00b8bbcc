"""Ops of networks with a memory: what one step takes from the step before, tokens, and smooth functions of gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..bits import BitFormat, unpack_unsigned
from ..errors import FileErrorCode, GraphError
from ._checks import check_words
from ._fields import NAME, REAL, REALS, SHAPE, SIZE, TRUTH, WORDS, integer
from ._op import Op, operation
from ._ops_integers import SIGN
from ._types import ValueType


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class State(Op):
    """What a step takes over from the step before; zeros before the first.

    Args:
        inputs: `()`.
        shape: without the batch.
        next: name of the value that the next step takes over: float32 of the same shape, no `State` itself.
    """

    input_count: ClassVar[int] = 0

    shape: Annotated[tuple[int, ...], SHAPE]
    next: Annotated[str, NAME]

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `float32[shape]`."""
        return ValueType(self.shape, "float32")


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding(Op):
    """Take a row of codes for a token.

    Args:
        features: codes in a row, `E`.
        bits: of a code, 1 to 8.
        sign: codes are -1 and +1 (1 bit) instead of unsigned.
        codes: uint64 `[bits * tokens, words_per_row(E)]`: bit-plane 0 (the lowest bit) of all rows, then plane 1 ...
    """

    features: Annotated[int, SIZE]
    bits: Annotated[int, integer(1, 8)]
    sign: Annotated[bool, TRUTH]
    codes: Annotated[NDArray[np.uint64], WORDS]

    @property
    def tokens(self) -> int:
        """Number of rows; a token is 0 to one less."""
        return len(self.codes) // self.bits

    def unpacked(self) -> NDArray[np.uint8]:
        """Return the codes, uint8 `[tokens, E]`; signs as 0 and 1."""
        planes = self.codes.reshape(self.bits, self.tokens, -1).transpose(1, 0, 2)  # [tokens, bits, W]
        return unpack_unsigned(planes, self.features)

    def check(self) -> None:
        """Check the words against the number of codes and planes."""
        if self.sign and self.bits != 1:
            raise GraphError(f"signs have 1 bit, got {self.bits}", FileErrorCode.BAD_ATTRIBUTE)
        if len(self.codes) % self.bits or not len(self.codes):
            reason = f"codes must have {self.bits} planes of equally many rows, got {len(self.codes)} rows"
            raise GraphError(reason, FileErrorCode.WRONG_TENSOR_SHAPE)
        check_words("codes", self.codes, self.features)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return `sign[E]` or `u<bits>[E]`."""
        (x,) = inputs
        x.expect("token", (1,))
        return ValueType((self.features,), SIGN if self.sign else BitFormat(self.bits, "unsigned"))


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class LookUp(Op):
    """Take the entry of a table that is nearest to each real number.

    Forward: `y = table[clip(round(x / step), -N / 2, N / 2 - 1) + N / 2]`, ties to even; NaN takes `table[0]`.

    Args:
        step: distance of entries, above 0 and finite.
        table: float32 `[N]`, N even.
    """

    step: Annotated[float, REAL]
    table: Annotated[NDArray[np.float32], REALS]

    def check(self) -> None:
        """Refuse a table without a middle and a step of nothing."""
        if len(self.table) % 2 or not len(self.table):
            reason = f"table must have an even number of entries, got {len(self.table)}"
            raise GraphError(reason, FileErrorCode.WRONG_TENSOR_SHAPE)
        if not 0 < self.step < float("inf"):
            raise GraphError(f"step must be above 0 and finite, got {self.step}", FileErrorCode.BAD_ATTRIBUTE)

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return float32 of the same shape."""
        (x,) = inputs
        x.expect("float32")
        return ValueType(x.shape, "float32")


@operation
@dataclass(frozen=True, kw_only=True, eq=False)
class MulReal(Op):
    """Multiply two real values of one shape, element by element, rounded once."""

    input_count: ClassVar[int] = 2

    def infer(self, *inputs: ValueType) -> ValueType:
        """Return float32 of the same shape."""
        a, b = inputs
        a.expect("float32")
        b.expect("float32", a.shape)
        return ValueType(a.shape, "float32")
