"""The demo's picture: digits with what the packed network said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS, _COLUMNS = 4, 10


def save_picture(
    path: Path, images: NDArray[np.uint8], labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> None:
    """Save a picture of some images, wrong answers first and in red.

    Args:
        path: a `.png`.
        images: `[N, height, width]`.
        labels: `[N]`.
        predicted: `[N]`.
    """
    from matplotlib.figure import Figure

    order = np.argsort(predicted == labels, kind="stable")[: _ROWS * _COLUMNS]
    figure = Figure(figsize=(_COLUMNS, _ROWS * 1.25), layout="constrained")
    wrong = int((predicted != labels).sum())
    figure.suptitle(f"{len(labels)} test images, {wrong} wrong; every answer equals that of the trained network")
    for axes, index in zip(figure.subplots(_ROWS, _COLUMNS).flat, order, strict=False):
        _draw(axes, images[index], int(labels[index]), int(predicted[index]))
    figure.savefig(path, dpi=100)


def _draw(axes: Any, image: NDArray[np.uint8], label: int, predicted: int) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    if predicted == label:
        axes.set_title(str(predicted))
    else:
        axes.set_title(f"{predicted}, is {label}", color="red")
