"""CIFAR-10 in its python and binary formats, found in a folder, or downloaded with a checksum.

Both formats keep 10,000 images a file. A file may be compressed by xz. The python format is a pickle, which could run
any code when read: the content's checksum is compared first, and the unpickler resolves nothing but the names of which
numpy arrays are made.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import lzma
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError
from ._dataset import Dataset, Split, split_off
from ._download import download as fetch
from ._mnist import FOLDER_VARIABLE

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_MOST_BYTES = 2**28  # of one unpacked file; the real ones have 31 MB
_XZ_MAGIC = b"\xfd7zXZ\x00"
_SUBFOLDERS = (
    "",
    "cifar-10-batches-py",
    "cifar-10-batches-bin",
    "cifar10/cifar-10-batches-py",
    "cifar10/cifar-10-batches-bin",
)
_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = "test_batch"
_URL = "https://www.cs.toronto.edu/~kriz/"
_ARCHIVE = "cifar-10-python.tar.gz"
_ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"
_MEMBERS = tuple(f"cifar-10-batches-py/{name}" for name in (*_TRAIN, _TEST))
_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_MD5_BINARY = {
    "data_batch_1": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
_Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def cifar10(
    folder: str | Path | None = None,
    *,
    download: bool = False,
    validation_size: int = 5_000,
    checksums: bool = True,
) -> Dataset:
    """Read CIFAR-10 from a folder of its python or binary files.

    Args:
        folder: holds the files, or `cifar-10-batches-py` or `-bin`, itself or in `cifar10`; `None` takes the
            environment's FEATHERBIT_DATA.
        download: whether to fetch the python files into the user's cache where no folder is given (170 MB).
        validation_size: the last so many training images become the validation split, >= 1.
        checksums: whether each file must be the published one; else any files of the format are read.

    Returns:
        Images uint8 `[N, 3, 32, 32]`, ten classes.

    Raises:
        DataError: files missing, damaged, or not the published ones.
    """
    place = folder or os.environ.get(FOLDER_VARIABLE)
    if place is None and download:
        place = fetch("CIFAR-10", _URL, {_ARCHIVE: f"md5:{_ARCHIVE_MD5}"}, unpack=_MEMBERS)
    if place is None:
        raise DataError(
            f"no folder of CIFAR-10 files: give its path (recipe setting data.path), set {FOLDER_VARIABLE}, "
            "or allow the download (data.download=true)"
        )
    learn = _join([_read(place, name, checksums) for name in _TRAIN])
    test = _join([_read(place, _TEST, checksums)])
    train, validation = split_off(learn, validation_size)
    return Dataset(train=train, validation=validation, test=test, classes=10)


def _join(parts: list[_Arrays]) -> Split:
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Split(torch.from_numpy(images.reshape(-1, *_SHAPE)), torch.from_numpy(labels))


def _read(folder: str | Path, name: str, checksums: bool) -> _Arrays:
    path, parse = _find(folder, name)
    try:
        content = _content(path)
        if checksums:
            _check(content, _MD5[name] if parse is parse_python_batch else _MD5_BINARY[name])
        return parse(content)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}; fetch the file again") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _find(folder: str | Path, name: str) -> tuple[Path, Callable[[bytes], _Arrays]]:
    parsers = {name: parse_python_batch, f"{name}.bin": parse_binary_batch}
    for subfolder in _SUBFOLDERS:
        for file_name, parse in parsers.items():
            for path in (Path(folder, subfolder, file_name), Path(folder, subfolder, f"{file_name}.xz")):
                if path.is_file():
                    return path, parse
    raise DataError(f"{folder}: no file {name} or {name}.bin there or in cifar-10-batches-py or -bin; check the path")


def _content(path: Path) -> bytes:
    with path.open("rb") as raw:
        compressed = raw.read(len(_XZ_MAGIC)) == _XZ_MAGIC
    with lzma.open(path) if compressed else path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise DataError(f"holds more than {_MOST_BYTES} bytes; no CIFAR-10 file is that large")
    return content


def _check(content: bytes, expected: str) -> None:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(
            f"the unpacked content has md5 {found}, the published file {expected}; fetch it again, "
            "or allow other files of the format (data.checksums=false)"
        )


def parse_binary_batch(content: bytes) -> _Arrays:
    """Return images and labels of a file in the binary format.

    Args:
        content: per image one byte of label and 3072 of pixels: red, green, blue, row by row.

    Returns:
        uint8 `[N, 3072]` and int64 `[N]`.

    Raises:
        DataError: not a whole number of images, or a label past 9.
    """
    if not content or len(content) % (1 + _PIXELS):
        raise DataError(f"a binary batch has {1 + _PIXELS} bytes an image, {len(content)} is not a multiple of it")
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + _PIXELS)
    return _checked(rows[:, 1:], rows[:, 0].astype(np.int64))


def parse_python_batch(content: bytes) -> _Arrays:
    """Return images and labels of a file in the python format, running no code of it.

    Args:
        content: a pickled dict with `data`, uint8 `[N, 3072]`, and `labels`, a list of N numbers.

    Returns:
        uint8 `[N, 3072]` and int64 `[N]`.

    Raises:
        DataError: not such a pickle.
    """
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        pixels, labels = batch["data"], np.asarray(batch["labels"])
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its instructions run into
        raise DataError(f"no python batch of CIFAR-10: {type(error).__name__}: {error}") from error
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != (len(pixels), _PIXELS):
        raise DataError(f"data must be uint8 [N, {_PIXELS}], got {_describe(pixels)}")
    if (labels.size and labels.dtype.kind not in "iu") or labels.shape != (len(pixels),):
        raise DataError(f"labels must be {len(pixels)} whole numbers, got {_describe(labels)}")
    return _checked(pixels, labels.astype(np.int64))


def _describe(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__


def _checked(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> _Arrays:
    if not len(labels) or labels.min() < 0 or labels.max() > 9:
        raise DataError(f"there must be images with labels 0 to 9, got {len(labels)} images")
    return pixels, labels


class _Unpickler(pickle.Unpickler):
    """Resolves the names that numpy arrays are made of, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the object of an allowed name.

        Raises:
            DataError: the name is not allowed.
        """
        if (module, name) not in _ALLOWED:
            raise DataError(f"the pickle asks for {module}.{name}, which no CIFAR-10 file does; do not trust it")
        return _ALLOWED[module, name]


_RECONSTRUCT = np.empty(0).__reduce__()[0]  # numpy's own, wherever this version keeps it
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("_codecs", "encode"): codecs.encode,  # how protocol 2 writes bytes today
    ("__builtin__", "bytes"): bytes,  # and empty ones
}
