"""Photographs in a folder for each class, brought to one size and kept in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ._dataset import Dataset, Split, epoch_order, split_off
from ._mnist import FOLDER_VARIABLE

if TYPE_CHECKING:
    from PIL.Image import Image

_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_TEST_FOLDERS = ("test", "val", "validation")
_MOST_BYTES = 2**35  # 32 GiB: more should not be kept in memory


def image_folder(
    folder: str | Path | None = None,
    *,
    size: int = 224,
    resize: int | None = None,
    validation_size: int = 1_000,
    split_seed: int = 0,
) -> Dataset:
    """Read a set of photographs from `folder/train/CLASS/*` and `folder/test/CLASS/*`.

    Each image becomes RGB, its shorter side is scaled to `resize`, and the middle is cut out. The classes are the
    folders of `train` in the order of their names.

    Args:
        folder: holds `train`, and one of `test`, `val` and `validation`, which becomes the test split; `None`
            takes the environment's FEATHERBIT_DATA.
        size: edge of the square that is cut out, in pixels, >= 1.
        resize: length of the shorter side before, >= `size`; `None` is `size`.
        validation_size: so many training images, drawn by `split_seed`, become the validation split, >= 1.
        split_seed: which images those are.

    Returns:
        Images uint8 `[N, 3, size, size]`, as many classes as folders.

    Raises:
        DataError: folders missing or empty, an image that cannot be read, or more than fits in memory.
    """
    shorter = size if resize is None else resize
    if not 1 <= size <= shorter:
        raise DataError(f"size must be 1 to resize, got size {size} and resize {shorter}")
    place = folder or os.environ.get(FOLDER_VARIABLE)
    if place is None:
        raise DataError(f"no folder of images: give its path (recipe setting data.path) or set {FOLDER_VARIABLE}")
    root = Path(place)
    tests = [root / name for name in _TEST_FOLDERS if (root / name).is_dir()]
    if not (root / "train").is_dir() or not tests:
        raise DataError(f"{root}: needs a folder train and one of {', '.join(_TEST_FOLDERS)}; check the path")
    classes = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    if len(classes) < 2:
        raise DataError(f"{root / 'train'}: at least 2 folders of images are needed, got {len(classes)}")
    learn, test = (_read_split(part, classes, size, shorter) for part in (root / "train", tests[0]))
    train, validation = split_off(learn[epoch_order(len(learn), split_seed, 0)], validation_size)
    return Dataset(train=train, validation=validation, test=test, classes=len(classes))


def _read_split(folder: Path, classes: list[str], size: int, resize: int) -> Split:
    unknown = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in classes)
    if unknown:
        raise DataError(f"{folder}: no class {unknown[0]!r} in train; its folders must be among those of train")
    files = [
        (path, label)
        for label, name in enumerate(classes)
        if (folder / name).is_dir()
        for path in sorted((folder / name).iterdir())
        if path.suffix.lower() in _SUFFIXES
    ]
    if not files:
        raise DataError(f"{folder}: no images of the kinds {', '.join(sorted(_SUFFIXES))} in its folders")
    if len(files) * 3 * size * size > _MOST_BYTES:
        raise DataError(f"{folder}: {len(files)} images of {size} pixels exceed {_MOST_BYTES} bytes; lower data.size")
    images = torch.empty((len(files), 3, size, size), dtype=torch.uint8)
    for row, (path, _) in enumerate(files):
        images[row] = read_image(path, size=size, resize=resize)
    return Split(images, torch.tensor([label for _, label in files]))


def read_image(path: str | Path, *, size: int, resize: int) -> Tensor:
    """Read a photograph as RGB, scale its shorter side and cut out its middle.

    Args:
        path: any format that Pillow reads; a turned photograph is set upright.
        size: edge of the result in pixels.
        resize: length of the shorter side before cutting, >= `size`.

    Returns:
        uint8 `[3, size, size]`.

    Raises:
        DataError: the file cannot be read as an image.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from error
    return _middle(_scaled(image, resize), size)


def _scaled(image: Image, resize: int) -> Image:
    from PIL.Image import Resampling

    width, height = image.size
    shorter = min(width, height)
    if shorter == resize:
        return image
    scaled = (max(resize, round(width * resize / shorter)), max(resize, round(height * resize / shorter)))
    return image.resize(scaled, Resampling.BILINEAR)


def _middle(image: Image, size: int) -> Tensor:
    left, top = ((edge - size) // 2 for edge in image.size)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)))  # [size, size, 3]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)  # [3, size, size]
