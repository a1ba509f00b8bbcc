"""Small image sets in MNIST's four files, made up, for tests of whatever reads or trains on them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oracles_training import idx_bytes


def images_and_labels(
    count: int, *, size: int = 4, classes: int = 3, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return random images `[count, size, size]`, each class with a bright row of its own, and their labels."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).astype(np.uint8)
    images = random.integers(0, 128, (count, size, size), dtype=np.uint8)
    images[np.arange(count), labels % size] = 255
    return images, labels


def write_folder(
    folder: Path,
    *,
    train: int = 30,
    test: int = 6,
    suffix: str = ".gz",
    dash: str = "-",
    size: int = 4,
    classes: int = 3,
) -> Path:
    """Write the four files under their usual names, compressed if the suffix says so."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        images, labels = images_and_labels(count, size=size, classes=classes)
        for kind, array in ((f"images{dash}idx3", images), (f"labels{dash}idx1", labels)):
            content = idx_bytes(array.shape, array.tobytes())
            path = folder / f"{part}-{kind}-ubyte{suffix}"
            path.write_bytes(gzip.compress(content) if suffix == ".gz" else content)
    return folder
