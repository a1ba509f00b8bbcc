"""Where a window finds its taps in a stored image: the tables of offsets that convolutions and pools read by.

Tables are made once, when a network is planned; no matrix of patches is made when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ir import Window
from ._storage import Storage

Table = NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """The taps of each output pixel, as coordinates of the input image.

    Args:
        rows: int64 `[pixels, taps]`; below 0 or past the end in the padding.
        columns: likewise.
        inside: bool `[pixels, taps]`: the tap is no padding.
    """

    rows: Table
    columns: Table
    inside: NDArray[np.bool_]


def places(window: Window, height: int, width: int, output: tuple[int, int]) -> Places:
    """Return the taps of a window that moves over an image.

    Args:
        window: how it moves.
        height: of the input.
        width: of the input.
        output: height and width of the output.
    """
    y, x = (index.reshape(-1, 1) for index in np.indices(output))  # [pixels, 1]
    ky, kx = (index.reshape(1, -1) for index in np.indices(window.kernel))  # [1, taps]
    rows = y * window.stride[0] - window.padding[0] + ky * window.dilation[0]  # [pixels, taps]
    columns = x * window.stride[1] - window.padding[1] + kx * window.dilation[1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return Places(rows.astype(np.int64), columns.astype(np.int64), inside)


def gather_tables(window: Window, source: Storage, output: tuple[int, int]) -> tuple[Table, Table, int]:
    """Return how a convolution reads a stored image.

    Args:
        window: how it moves.
        source: the image, with a border at least as wide as the padding.
        output: height and width of the output.

    Returns:
        The byte offset of each output pixel, those of the runs of a window, and the taps of a run.
    """
    y, x = (index.reshape(-1) * stride for index, stride in zip(np.indices(output), window.stride, strict=True))
    rows = source.offsets(y - window.padding[0], x - window.padding[1])
    ky, kx = (index.reshape(-1) * step for index, step in zip(np.indices(window.kernel), window.dilation, strict=True))
    taps = source.offsets(ky, kx) - source.offsets(np.zeros(1, np.int64), np.zeros(1, np.int64))
    run_taps = window.kernel[1] if window.dilation[1] == 1 else 1  # taps side by side are one run
    return rows.astype(np.int64), np.ascontiguousarray(taps[::run_taps]).astype(np.int64), run_taps


def pool_windows(window: Window, source: Storage, output: tuple[int, int]) -> Table:
    """Return the byte offset of each place of each window, -1 in the padding.

    The table is int64 `[pixels, places]`.
    """
    taps = places(window, source.height, source.width, output)
    return np.where(taps.inside, source.offsets(taps.rows, taps.columns), -1)


def padding_classes(
    window: Window, height: int, width: int, output: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return the sets of taps that lie in the padding.

    Also returned: which of them each output pixel has.

    Returns:
        uint8 `[classes, taps]`, 1 where the tap is padding, class 0 with none; and uint16 `[pixels]`.
    """
    missing = ~places(window, height, width, output).inside
    none = np.zeros((1, missing.shape[1]), dtype=bool)
    classes, index = np.unique(np.concatenate([none, missing]), axis=0, return_inverse=True)
    index = index.reshape(-1)  # the order is lexical: no padding comes first
    return classes.astype(np.uint8), index[1:].astype(np.uint16)
