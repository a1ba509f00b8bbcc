"""The handwritten digits that scikit-learn embeds: 1797 images of 8 x 8 pixels, always at hand."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import DataError
from ._dataset import Dataset, Split, epoch_order


def digits(*, split_seed: int = 0, validation_size: int = 180, test_size: int = 360) -> Dataset:
    """Load the embedded digits, split at random by a seed.

    Args:
        split_seed: which split; results are reported as the mean over several.
        validation_size: images of the validation split, >= 1.
        test_size: images of the test split, >= 1.

    Returns:
        Images uint8 `[N, 8, 8]`; the pixels 0..16 become `round(pixel * 255 / 16)`, 0..255. Ten classes.

    Raises:
        DataError: sizes that leave nothing to train on.
    """
    from sklearn.datasets import load_digits  # slow to import, and needed by this set only

    source = load_digits()
    images = torch.from_numpy(np.rint(source.images * (255 / 16)).astype(np.uint8))  # [1797, 8, 8]
    everything = Split(images, torch.from_numpy(source.target.astype(np.int64)))
    train_size = len(everything) - validation_size - test_size
    if min(train_size, validation_size, test_size) < 1:
        raise DataError(f"{len(everything)} digits cannot be split into {train_size}, {validation_size}, {test_size}")
    order = epoch_order(len(everything), split_seed, 0)
    rest = train_size + validation_size
    return Dataset(
        train=everything[order[:train_size]],
        validation=everything[order[train_size:rest]],
        test=everything[order[rest:]],
        classes=10,
    )
