"""SVHN, house numbers cropped to single digits, in its MATLAB files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch

from ..errors import DataError
from ._dataset import Dataset, Split, join_splits, split_off
from ._download import download as fetch
from ._mnist import FOLDER_VARIABLE

_URL = "http://ufldl.stanford.edu/housenumbers/"
_MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
}
_SUBFOLDERS = ("", "SVHN", "svhn")
_IMAGE = (32, 32, 3)
_CHUNK_BYTES = 2**20


def svhn(
    folder: str | Path | None = None,
    *,
    download: bool = False,
    extra: bool = False,
    validation_size: int = 6_000,
    checksums: bool = True,
) -> Dataset:
    """Read SVHN from a folder of its three MATLAB files.

    Args:
        folder: holds `train_32x32.mat` and `test_32x32.mat`, itself or in `SVHN`; `None` takes the environment's
            FEATHERBIT_DATA.
        download: whether to fetch the files into the user's cache where no folder is given (250 MB, 1.5 GB with
            `extra`).
        extra: whether the 531,131 easier images of `extra_32x32.mat` are trained on, too.
        validation_size: the last so many images of the training file become the validation split, >= 1.
        checksums: whether each file must be the published one.

    Returns:
        Images uint8 `[N, 3, 32, 32]`; ten classes, the digit 0 is class 0.

    Raises:
        DataError: files missing, damaged, or not the published ones.
    """
    names = ["train_32x32.mat", "test_32x32.mat", *(["extra_32x32.mat"] if extra else [])]
    place = folder or os.environ.get(FOLDER_VARIABLE)
    if place is None and download:
        place = fetch("SVHN", _URL, {name: f"md5:{_MD5[name]}" for name in names})
    if place is None:
        raise DataError(
            f"no folder of SVHN files: give its path (recipe setting data.path), set {FOLDER_VARIABLE}, "
            "or allow the download (data.download=true)"
        )
    learn, test, *more = (_read(place, name, checksums) for name in names)
    train, validation = split_off(join_splits([*more, learn]), validation_size)
    return Dataset(train=train, validation=validation, test=test, classes=10)


def _read(folder: str | Path, name: str, checksums: bool) -> Split:
    path = next((path for sub in _SUBFOLDERS if (path := Path(folder, sub, name)).is_file()), None)
    if path is None:
        raise DataError(f"{folder}: no file {name} there or in SVHN; check the path")
    try:
        if checksums:
            _check(path, _MD5[name])
        return read_mat(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _check(path: Path, expected: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise DataError(
            f"the content has md5 {digest.hexdigest()}, the published file {expected}; fetch it again, "
            "or allow other files of the format (data.checksums=false)"
        )


def read_mat(path: Path) -> Split:
    """Read one MATLAB file of SVHN's format.

    Args:
        path: holds `X`, uint8 `[32, 32, 3, N]`, and `y`, `[N, 1]`, 1 to 10, where 10 is the digit 0.

    Returns:
        Images uint8 `[N, 3, 32, 32]` and labels 0 to 9.

    Raises:
        DataError: the file is no such file.
    """
    from scipy.io import loadmat  # slow to import, and needed by this set only

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # scipy raises errors of many kinds for damaged files
        raise DataError(f"no MATLAB file that can be read: {type(error).__name__}: {error}") from error
    if not {"X", "y"} <= content.keys():
        raise DataError("the variables X (images) and y (labels) are needed; is it another file?")
    images, labels = np.asarray(content["X"]), np.asarray(content["y"]).ravel()
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[:3] != _IMAGE:
        raise DataError(f"X must be uint8 [32, 32, 3, N], got {images.dtype} {list(images.shape)}")
    if labels.dtype.kind not in "iu" or len(labels) != images.shape[3] or not len(labels):
        raise DataError(f"y must be one whole number for each of {images.shape[3]} images, got {labels.dtype}")
    if labels.min() < 1 or labels.max() > 10:
        raise DataError(f"labels must lie in 1..10, got {labels.min()}..{labels.max()}")
    pixels = np.ascontiguousarray(images.transpose(3, 2, 0, 1))  # [N, 3, 32, 32]
    return Split(torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64) % 10))
