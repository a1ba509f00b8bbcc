"""Small image sets in the files of CIFAR-10, SVHN and image folders, made up."""

from __future__ import annotations

import lzma
import pickle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BATCHES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


def colored(count: int, *, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return random images `[count, 3, 32, 32]`, each class bright in a color of its own, and their labels 0 to 2."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 128, (count, 3, 32, 32), dtype=np.uint8)
    images[np.arange(count), labels] += 127
    return images, labels.astype(np.int64)


def binary_batch(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> bytes:
    """Return a file of CIFAR-10's binary format."""
    rows = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(len(images), -1)], axis=1)
    return rows.tobytes()


def python_batch(images: NDArray[np.uint8], labels: NDArray[np.int64], *, protocol: int = 2) -> bytes:
    """Return a file of CIFAR-10's python format."""
    return pickle.dumps({"data": images.reshape(len(images), -1), "labels": labels.tolist()}, protocol=protocol)


def write_cifar(folder: Path, *, images_each: int = 4, python: bool = False, xz: bool = False) -> Path:
    """Write the six files, `images_each` images in each."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(BATCHES):
        content = (python_batch if python else binary_batch)(*colored(images_each, seed=seed))
        path = folder / (name + ("" if python else ".bin") + (".xz" if xz else ""))
        path.write_bytes(lzma.compress(content) if xz else content)
    return folder


def write_svhn(folder: Path, *, train: int = 12, test: int = 5, extra: int = 3) -> Path:
    """Write the three MATLAB files; their labels 1 to 3 are the classes 0 to 2 of `colored`, 0 written as 10."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate((("train", train), ("test", test), ("extra", extra))):
        images, labels = colored(count, seed=seed)
        content = {"X": images.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)}
        savemat(folder / f"{name}_32x32.mat", content)
    return folder
