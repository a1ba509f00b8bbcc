"""Every error featherbit raises on purpose: one base class, one child per kind of trouble.

A message says what is wrong, what came and what to do. Inner code gives the reason; the public boundary adds the
layer path or the file name. Python's own exceptions are kept for broken promises inside the library.
"""

from __future__ import annotations

from enum import StrEnum


class FeatherbitError(Exception):
    """The base of all errors that featherbit raises on purpose."""


class InputError(FeatherbitError, ValueError):
    """A value given to a public call has the wrong shape, type or range."""


class KernelError(FeatherbitError):
    """A kernel was asked for something it does not do, or for an ISA not there."""


class DataError(FeatherbitError):
    """A dataset is missing, damaged or of another kind than expected."""


class RecipeError(FeatherbitError):
    """A recipe names an unknown setting or gives one an impossible value."""


class PackError(FeatherbitError):
    """A layer of a trained model cannot be packed.

    Args:
        path: the layer's path in the model, as `named_modules` gives it; empty for the model itself.
        reason: why, and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path or 'the model'}: {reason}")
        self.path = path
        self.reason = reason


class FileErrorCode(StrEnum):
    """One code for each way a packed file can be wrong; see `docs/format.md`."""

    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"
    UNWRITABLE = "unwritable"

    TRUNCATED = "truncated"
    TRAILING_BYTES = "trailing_bytes"
    NOT_SAFETENSORS = "not_safetensors"
    BAD_TENSOR_LAYOUT = "bad_tensor_layout"
    NOT_FEATHERBIT = "not_featherbit"
    WRONG_VERSION = "wrong_version"
    BAD_GRAPH_JSON = "bad_graph_json"
    MISSING_TENSOR = "missing_tensor"
    EXTRA_TENSOR = "extra_tensor"

    UNKNOWN_OP = "unknown_op"
    BAD_NAME = "bad_name"
    BAD_ATTRIBUTE = "bad_attribute"
    SIZE_OVERFLOW = "size_overflow"
    WRONG_TENSOR_DTYPE = "wrong_tensor_dtype"
    WRONG_TENSOR_SHAPE = "wrong_tensor_shape"
    DIRTY_TAIL_BITS = "dirty_tail_bits"
    BAD_TENSOR_VALUE = "bad_tensor_value"
    MISPLACED_INPUT = "misplaced_input"
    WRONG_INPUT_COUNT = "wrong_input_count"
    UNKNOWN_VALUE = "unknown_value"
    DUPLICATE_VALUE = "duplicate_value"
    UNUSED_VALUE = "unused_value"
    CYCLE = "cycle"
    WRONG_VALUE_TYPE = "wrong_value_type"
    INEXACT_SUM = "inexact_sum"


class GraphError(FeatherbitError):
    """A graph is not well formed: unknown op or value, cycle, wrong shape or type.

    Args:
        message: what is wrong, what came and what to do.
        code: the code with which a file that holds this graph is refused.
    """

    def __init__(self, message: str, code: FileErrorCode = FileErrorCode.WRONG_VALUE_TYPE) -> None:
        super().__init__(message)
        self.code = code


class FileError(FeatherbitError):
    """A packed file is wrong.

    Args:
        code: which way it is wrong.
        reason: what came and what to do.
    """

    def __init__(self, code: FileErrorCode, reason: str) -> None:
        super().__init__(f"{reason} [{code.value}]")
        self.code = code
        self.reason = reason
