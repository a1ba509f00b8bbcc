"""MNIST, and any set in the same four IDX files: found in a folder, or MNIST itself downloaded with checksums."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ._dataset import Dataset, Split, split_off
from ._download import download as fetch
from ._idx import read_idx

FOLDER_VARIABLE = "FEATHERBIT_DATA"
_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
_MNIST_SUBFOLDERS = ("MNIST/raw", "MNIST", "")


def mnist(folder: str | Path | None = None, *, download: bool = False, validation_size: int = 10_000) -> Dataset:
    """Read MNIST from a folder of IDX files.

    Args:
        folder: the folder, or one that holds `MNIST/raw` or `MNIST`; `None` takes the environment's FEATHERBIT_DATA.
        download: whether to fetch the files into the user's cache where no folder is given (11 MB, checksums checked).
        validation_size: the last so many training images become the validation split.

    Raises:
        DataError: files missing, damaged, or not fitting each other.
    """
    place = folder or os.environ.get(FOLDER_VARIABLE)
    if place is not None:
        return idx_folder(place, validation_size=validation_size)
    if download:
        return idx_folder(fetch("MNIST", _URL, _SHA256), validation_size=validation_size)
    raise DataError(
        f"no folder of MNIST files: give its path (recipe setting data.path), set {FOLDER_VARIABLE}, "
        "or allow the download (data.download=true)"
    )


def idx_folder(folder: str | Path, *, validation_size: int) -> Dataset:
    """Read a set of images of any size and number of classes from four IDX files.

    Args:
        folder: holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
            `t10k-labels-idx1-ubyte`, each with or without `.gz`; `.idx3-ubyte` for `-idx3-ubyte` is understood.
        validation_size: the last so many training images become the validation split, >= 1.

    Returns:
        The splits; there are as many classes as the largest training label says.

    Raises:
        DataError: files missing, damaged, or not fitting each other.
    """
    images, labels = (_read(folder, "train", kind) for kind in ("images-idx3", "labels-idx1"))
    train, validation = split_off(_split(folder, images, labels), validation_size)
    test = _split(folder, *(_read(folder, "t10k", kind) for kind in ("images-idx3", "labels-idx1")))
    classes = max(2, int(labels.max()) + 1)
    return Dataset(train=train, validation=validation, test=test, classes=classes)


def _split(folder: str | Path, images: Tensor, labels: Tensor) -> Split:
    if images.ndim < 2 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{folder}: images {tuple(images.shape)} and labels {tuple(labels.shape)} do not fit each other"
        )
    return Split(images, labels.to(torch.int64))


def _read(folder: str | Path, part: str, kind: str) -> Tensor:
    names = [f"{part}-{kind}-ubyte", f"{part}-{kind.replace('-idx', '.idx')}-ubyte"]
    for subfolder in _MNIST_SUBFOLDERS:
        for name in names:
            for path in (Path(folder, subfolder, name), Path(folder, subfolder, f"{name}.gz")):
                if path.is_file():
                    return read_idx(path)
    raise DataError(f"{folder}: no file {names[0]} or {names[0]}.gz there, in MNIST or in MNIST/raw; check the path")
