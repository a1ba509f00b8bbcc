"""How an op declares its attributes and arrays, so that checking, saving and loading need no code per op.

A field's annotation carries its rule, as in `in_features: Annotated[int, SIZE]`. An `Attribute` is a plain JSON value
and lives in the file's graph; an `Array` lives in the file's tensors.
(Rejected: dataclass field metadata, which hides from the type checker which fields have no default.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileErrorCode, GraphError
from ._types import MAX_RANK, MAX_SIZE

_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,200}")
_MAX_F32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Attribute:
    """A field that is a plain value.

    Args:
        parse: turns what a caller or a JSON file gave into the field's value; raises GraphError with the reason.
        write: turns the field's value into what stands in the JSON file.
    """

    parse: Callable[[object], object]
    write: Callable[[Any], object] = lambda value: value


@dataclass(frozen=True)
class Array:
    """A field that is a numpy array.

    Args:
        dtype: the only dtype allowed, little-endian.
        rank: the number of dimensions.
    """

    dtype: str
    rank: int

    def parse(self, value: object) -> NDArray[Any]:
        """Return `value` as a read-only C-contiguous array.

        Only what can still be written to is copied.

        Raises:
            GraphError: not an array, another dtype or rank.
        """
        dtype = np.dtype(self.dtype)
        if not isinstance(value, np.ndarray):
            raise GraphError(f"must be a numpy array, got {type(value).__name__}", FileErrorCode.WRONG_TENSOR_DTYPE)
        if value.dtype != dtype:
            raise GraphError(f"must be {dtype.name}, got {value.dtype}", FileErrorCode.WRONG_TENSOR_DTYPE)
        if value.ndim != self.rank:
            raise GraphError(f"must have rank {self.rank}, got shape {value.shape}", FileErrorCode.WRONG_TENSOR_SHAPE)
        if value.flags.c_contiguous and not value.flags.writeable:
            return value
        owned = np.array(value, order="C")
        owned.setflags(write=False)
        return owned


def _integer(low: int, high: int, above: FileErrorCode) -> Attribute:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise GraphError(f"must be an integer, got {value!r:.80}", FileErrorCode.BAD_ATTRIBUTE)
        if not low <= value <= high:
            code = above if value > high else FileErrorCode.BAD_ATTRIBUTE
            raise GraphError(f"must be {low} to {high}, got {_short(value)}", code)
        return value

    return Attribute(parse)


def integer(low: int, high: int) -> Attribute:
    """Declare an integer from `low` to `high`, both allowed."""
    return _integer(low, high, above=FileErrorCode.BAD_ATTRIBUTE)


def one_of(*words: str) -> Attribute:
    """Declare a string that is one of `words`."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise GraphError(f"must be one of {', '.join(words)}, got {value!r:.80}", FileErrorCode.BAD_ATTRIBUTE)
        return value

    return Attribute(parse)


def _parse_shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_RANK:
        raise GraphError(f"must be 1 to {MAX_RANK} dimensions, got {value!r:.80}", FileErrorCode.BAD_ATTRIBUTE)
    return tuple(SIZE.parse(size) for size in value)  # type: ignore[misc]


def _parse_truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise GraphError(f"must be true or false, got {value!r:.80}", FileErrorCode.BAD_ATTRIBUTE)
    return value


def _sizes(count: int, low: int) -> Attribute:
    size = integer(low, MAX_EXTENT)

    def parse(value: object) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or len(value) != count:
            raise GraphError(f"must be {count} integers, got {value!r:.80}", FileErrorCode.BAD_ATTRIBUTE)
        return tuple(size.parse(item) for item in value)  # type: ignore[misc]

    return Attribute(parse)


def _parse_real(value: object) -> float:
    number = {"inf": math.inf, "-inf": -math.inf}.get(value, value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or number != number:
        raise GraphError(f'must be a number, "inf" or "-inf", got {value!r:.80}', FileErrorCode.BAD_ATTRIBUTE)
    infinite = number in (math.inf, -math.inf)
    if not infinite and (abs(number) > _MAX_F32 or float(np.float32(number)) != number):
        raise GraphError(f"must be a float32 exactly, got {_short_real(number)}", FileErrorCode.BAD_ATTRIBUTE)
    return float(number) + 0.0  # -0.0 becomes 0.0


def _parse_text(value: object) -> str:
    if not isinstance(value, str) or len(value) > 500 or not is_text(value):
        raise GraphError(
            f"must be a Unicode string of at most 500 characters, got {value!r:.80}", FileErrorCode.BAD_ATTRIBUTE
        )
    return value


def parse_name(value: object) -> str:
    """Return the name of a value.

    Raises:
        GraphError: it is none.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        reason = f"a value's name is 1 to 200 letters, digits and _ . : / -, got {value!r:.80}"
        raise GraphError(reason, FileErrorCode.BAD_NAME)
    return value


def is_text(value: str) -> bool:
    """Whether a string can be written as UTF-8: a lone surrogate cannot."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in value)


def _write_real(value: float) -> object:
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _short_real(value: float) -> str:
    return _short(value) if isinstance(value, int) else repr(value)


def _short(value: int) -> str:
    return str(value) if abs(value) < 10**20 else "a number of more than 20 digits"


SIZE = _integer(1, MAX_SIZE, above=FileErrorCode.SIZE_OVERFLOW)
"""A dimension: an integer from 1 to 2^31 - 1."""

SHAPE = Attribute(_parse_shape)
"""A tuple of 1 to 8 dimensions."""

MAX_EXTENT = 65535
"""No kernel, stride, dilation or padding is larger."""

PAIR = _sizes(2, low=1)
"""Two integers from 1 to 65535, along H and along W."""

SIDES = _sizes(4, low=0)
"""Four integers from 0 to 65535: top, left, bottom, right."""

REAL = Attribute(_parse_real, _write_real)
"""One float32 or an infinity, not NaN; -0.0 is taken as 0.0."""

TEXT = Attribute(_parse_text)
"""Words for people, a Unicode string of at most 500 characters."""

NAME = Attribute(parse_name)
"""The name of a value of the graph."""

TRUTH = Attribute(_parse_truth)
"""True or false."""

WORDS = Array("<u8", rank=2)
"""Rows of packed bits."""

MASK = Array("<u8", rank=1)
"""One row of packed bits."""

INTEGERS = Array("<i4", rank=1)
"""One int32 for each channel."""

INTEGER_ROWS = Array("<i4", rank=2)
"""Several int32 for each channel."""

REALS = Array("<f4", rank=1)
"""One float32 for each channel; infinities and NaN are allowed, since a trained batch norm can hold them."""
