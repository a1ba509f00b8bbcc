"""Images and labels in memory, and the order in which training sees them.

Images stay uint8 tensors and a batch is one indexed read: for small images no loader process could be faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Images with their labels.

    Args:
        images: uint8 `[N, *image]`.
        labels: int64 `[N]`, each >= 0.

    Raises:
        DataError: wrong dtypes, or numbers that differ.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.labels.dtype != torch.int64:
            raise DataError(f"images must be uint8 and labels int64, got {self.images.dtype} and {self.labels.dtype}")
        if self.labels.ndim != 1 or len(self.images) != len(self.labels):
            raise DataError(f"one label per image is needed, got {len(self.images)} and {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Tensor) -> Split:
        return Split(self.images[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Dataset:
    """The three splits of a data set and what their images look like.

    Args:
        train: what the network learns from.
        validation: what a checkpoint is selected by.
        test: looked at once, after training.
        classes: number of classes, >= 2.

    Raises:
        DataError: an empty split, splits of different images, or a label past the classes.
    """

    train: Split
    validation: Split
    test: Split
    classes: int

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            split: Split = getattr(self, name)
            if not len(split):
                raise DataError(f"the {name} split is empty; choose smaller sizes for the other splits")
            if split.images.shape[1:] != self.train.images.shape[1:]:
                raise DataError(
                    f"{name} images are {tuple(split.images.shape[1:])}, training images {self.image_shape}"
                )
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.classes:
                raise DataError(f"{name} labels must lie in 0..{self.classes - 1}, got {low}..{high}")

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image, without the batch dimension."""
        return tuple(self.train.images.shape[1:])


def join_splits(parts: Sequence[Split]) -> Split:
    """Return the examples of several splits, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Split(torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts]))


def split_off(split: Split, size: int) -> tuple[Split, Split]:
    """Return all but the last so many examples, and those.

    Args:
        split: images and labels.
        size: examples of the second part, at least 1 and less than there are.

    Raises:
        DataError: a size out of range.
    """
    if not 0 < size < len(split):
        raise DataError(f"validation_size must be 1 to {len(split) - 1}, got {size}")
    cut = len(split) - size
    return split[:cut], split[cut:]


def epoch_order(examples: int, seed: int, epoch: int) -> Tensor:
    """Return the order of one epoch, int64 `[examples]`, decided by seed and epoch.

    >>> sorted(epoch_order(5, seed=0, epoch=3).tolist())
    [0, 1, 2, 3, 4]
    """
    return torch.randperm(examples, generator=torch.Generator().manual_seed(mix_seed(seed, epoch)))


def mix_seed(seed: int, epoch: int) -> int:
    """Return a seed for one epoch of a run, unrelated to those of all others.

    The mixing function is that of SplitMix64, whose output is a bijection of its input.
    """
    mask = 2**64 - 1
    z = (seed * 0x9E3779B97F4A7C15 + epoch * 0xD1B54A32D192ED03 + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1  # torch takes seeds below 2^63 on every backend


class Batches:
    """The batches of one pass over a split, in a given order.

    Args:
        split: images and labels.
        batch_size: rows of a batch, >= 1.
        order: int64 `[N]`, row numbers; `None` is as they come.
        drop_last: whether a last batch that is not full is left out (batch norm cannot train on one row).
    """

    def __init__(self, split: Split, batch_size: int, *, order: Tensor | None = None, drop_last: bool = False) -> None:
        self.split = split
        self.batch_size = batch_size
        self.order = order
        self.drop_last = drop_last

    def __len__(self) -> int:
        return len(self.split) // self.batch_size if self.drop_last else -(-len(self.split) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(len(self)):
            rows = slice(i * self.batch_size, (i + 1) * self.batch_size)
            batch = self.split[rows if self.order is None else self.order[rows]]
            yield batch.images, batch.labels
