"""The IDX file format of MNIST and its relatives, read strictly.

A file is two zero bytes, a type code (0x08, unsigned byte, is the only one read here), the number of dimensions, each
dimension as a big-endian uint32, then exactly the elements. It may be gzip-compressed.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
_MOST_DIMENSIONS = 32  # numpy's arrays have at most 64, older ones 32
_MOST_BYTES = 2**34  # 16 GiB: a damaged header or a gzip bomb is refused before memory is filled


def read_idx(path: str | Path) -> Tensor:
    """Read an IDX file of unsigned bytes, raw or gzip.

    Args:
        path: the file; compression is told by its content, not its name.

    Returns:
        uint8, shape as the header says.

    Raises:
        DataError: the file cannot be read, or differs in any way from the format.
    """
    path = Path(path)
    try:
        return _parse(_content(path))
    except OSError as error:  # gzip.BadGzipFile is one too
        raise DataError(f"{path}: cannot be read: {error}") from error
    except (zlib.error, EOFError) as error:
        raise DataError(f"{path}: damaged gzip data: {error}; fetch the file again") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _content(path: Path) -> bytes:
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not compressed:
            return raw.read()
        with gzip.GzipFile(fileobj=raw) as stream:
            content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise DataError(f"unpacks to more than {_MOST_BYTES} bytes; no IDX file of images is that large")
    return content


def _parse(content: bytes) -> Tensor:
    if len(content) < 4:
        raise DataError(f"an IDX file starts with 4 bytes, got {len(content)}")
    zeros, code, ndim = struct.unpack_from(">HBB", content)
    if zeros != 0:
        raise DataError(f"an IDX file starts with two zero bytes, got {content[:2]!r}; is it another kind of file?")
    if code != _UNSIGNED_BYTE:
        raise DataError(f"elements must be unsigned bytes (type code 0x08), got 0x{code:02x}")
    if ndim == 0:
        raise DataError("the header announces no dimensions; at least 1 is needed")
    start = 4 + 4 * ndim
    if len(content) < start:
        raise DataError(f"a header of {ndim} dimensions takes {start} bytes, the file has {len(content)}")
    shape = struct.unpack_from(f">{ndim}I", content, 4)
    if ndim > _MOST_DIMENSIONS or math.prod(max(size, 1) for size in shape) >= 2**63:
        raise DataError(f"no array has the shape {shape}; the header is damaged")
    expected = math.prod(shape)
    if len(content) - start != expected:
        raise DataError(f"shape {shape} needs {expected} bytes after the header, the file has {len(content) - start}")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())
