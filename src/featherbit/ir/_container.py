"""Read a safetensors container by mapping it into memory, with an error code for each way in which it can be wrong.

The safetensors library writes our files but does not read them: its numpy reader copies every tensor, and tells most
faults apart only in prose. A test holds the two together: what is accepted here, the library reads alike.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import FileError, FileErrorCode
from ._types import MAX_RANK

_LENGTH_BYTES = 8
_ALIGNMENT_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # the safetensors library's own limit
_MAX_TENSOR_BYTES = 2**63 - 1
_METADATA = "__metadata__"
_ENTRY_KEYS = {"dtype", "shape", "data_offsets"}
_DTYPES = {
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}


@dataclass(frozen=True)
class Container:
    """What a safetensors file holds.

    Args:
        metadata: its strings by key.
        tensors: its arrays by name, read-only views of the mapped file.
    """

    metadata: Mapping[str, str]
    tensors: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _Entry:
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def read_container(path: Path) -> Container:
    """Map a safetensors file and check all of its structure.

    Raises:
        FileError: with one of the codes from `NOT_FOUND` to `BAD_TENSOR_LAYOUT`, `WRONG_TENSOR_DTYPE`,
            `WRONG_TENSOR_SHAPE`, `SIZE_OVERFLOW`.
    """
    data = _map(path)
    header, start = _read_header(data)
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        _refuse(FileErrorCode.NOT_SAFETENSORS, f"{_METADATA} must map strings to strings")
    entries = [_parse_entry(name, entry) for name, entry in header.items()]
    end = _check_layout(entries, start)
    if len(data) < end:
        _refuse(FileErrorCode.TRUNCATED, f"the file ends after {len(data)} of {end} bytes; copy it again")
    if len(data) > end:
        _refuse(FileErrorCode.TRAILING_BYTES, f"the file has {len(data) - end} bytes after its last tensor")
    tensors = {e.name: np.ndarray(e.shape, e.dtype, buffer=data, offset=start + e.begin) for e in entries}
    return Container(metadata, tensors)


def parse_json(text: str) -> Any:
    """Parse strict JSON: no key twice, no NaN or infinity, no bottomless nesting.

    Raises:
        ValueError: with the reason.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key stands twice in one object")
        return dict(pairs)

    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _map(path: Path) -> mmap.mmap | bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            _refuse(FileErrorCode.UNREADABLE, "it is not a regular file")
        with open(path, "rb") as file:
            empty = os.fstat(file.fileno()).st_size == 0  # which cannot be mapped
            return b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise FileError(FileErrorCode.NOT_FOUND, "there is no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FileError(FileErrorCode.UNREADABLE, f"the file cannot be read: {error}") from error


def _read_header(data: mmap.mmap | bytes) -> tuple[dict[str, Any], int]:
    if len(data) < _LENGTH_BYTES:
        _refuse(FileErrorCode.TRUNCATED, f"the file has {len(data)} bytes, not even the {_LENGTH_BYTES} of its length")
    header_bytes = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if header_bytes > _MAX_HEADER_BYTES:
        reason = f"a header of {header_bytes} bytes, more than {_MAX_HEADER_BYTES}: not a safetensors file"
        _refuse(FileErrorCode.NOT_SAFETENSORS, reason)
    start = _LENGTH_BYTES + header_bytes
    if len(data) < start:
        _refuse(FileErrorCode.TRUNCATED, f"the file ends after {len(data)} bytes, within its header of {header_bytes}")
    try:
        header = parse_json(data[_LENGTH_BYTES:start].decode("utf-8"))
    except ValueError as error:
        _refuse(FileErrorCode.NOT_SAFETENSORS, f"the header is not JSON: {error}")
    if not isinstance(header, dict) or data[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
        _refuse(FileErrorCode.NOT_SAFETENSORS, "the header is not a JSON object that starts with its first byte")
    return header, start


def _parse_entry(name: str, entry: Any) -> _Entry:
    if not isinstance(entry, dict) or set(entry) != _ENTRY_KEYS or not isinstance(entry["dtype"], str):
        _refuse(FileErrorCode.NOT_SAFETENSORS, f"tensor {name!r:.80} must have exactly dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        _refuse(FileErrorCode.NOT_SAFETENSORS, f"tensor {name!r:.80}: shape and data_offsets must be lists of sizes")
    if entry["dtype"] not in _DTYPES:
        reason = f"tensor {name!r:.80} has dtype {entry['dtype']!r:.20}, which no op uses"
        _refuse(FileErrorCode.WRONG_TENSOR_DTYPE, reason)
    if len(shape) > MAX_RANK:
        reason = f"tensor {name!r:.80} has {len(shape)} dimensions, more than {MAX_RANK}"
        _refuse(FileErrorCode.WRONG_TENSOR_SHAPE, reason)
    return _Entry(name, np.dtype(_DTYPES[entry["dtype"]]), tuple(shape), *offsets)


def _are_sizes(sizes: Any) -> bool:
    return isinstance(sizes, list) and all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in sizes)


def _check_layout(entries: list[_Entry], start: int) -> int:
    # No gap, no overlap, no misalignment; returns where the file must end.
    if start % _ALIGNMENT_BYTES:
        _refuse(FileErrorCode.BAD_TENSOR_LAYOUT, f"the tensors start at byte {start}, not a multiple of 8")
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        size_bytes = math.prod((*entry.shape, entry.dtype.itemsize))
        if size_bytes > _MAX_TENSOR_BYTES:
            _refuse(FileErrorCode.SIZE_OVERFLOW, f"tensor {entry.name!r:.80} of shape {entry.shape} is too large")
        if entry.begin != end or entry.end - entry.begin != size_bytes or entry.begin % entry.dtype.itemsize:
            reason = f"tensor {entry.name!r:.80} of {size_bytes} bytes cannot lie at {entry.begin}..{entry.end}"
            _refuse(FileErrorCode.BAD_TENSOR_LAYOUT, f"{reason}: a gap, an overlap or a misalignment")
        end = entry.end
    return start + end


def _refuse(code: FileErrorCode, reason: str) -> NoReturn:
    raise FileError(code, reason)
