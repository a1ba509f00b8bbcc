"""Read pictures, `.npy` and IDX files as the batch that a network takes.

The kind of a file is told by its content. A picture becomes greyscale; its size is changed only when asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.Image import Image as Picture
from PIL.Image import Resampling

from ..errors import InputError

Shape = tuple[int, ...]
_NPY = b"\x93NUMPY"
_IDX = (b"\x00\x00", b"\x1f\x8b")  # raw, gzip
_HALF = np.float32(128)


@dataclass(frozen=True)
class Wanted:
    """What a network takes.

    Args:
        shape: of one image.
        dtype: `"uint8"` or `"float32"`; pixels become `(u - 128) / 128` for the latter.
        resize: whether pictures of another size are resized.
        invert: whether pictures are dark on light, and the network was trained on light on dark.
    """

    shape: Shape
    dtype: str
    resize: bool = False
    invert: bool = False


def read_images(path: Path, wanted: Wanted) -> NDArray[Any]:
    """Read one file.

    Args:
        path: one picture, or any number of images in a `.npy` or an IDX file.
        wanted: shape and dtype.

    Returns:
        `[N, *wanted.shape]` of `wanted.dtype`.

    Raises:
        InputError: the file cannot be read, or holds images of another size or type.
    """
    try:
        images = _read(path, wanted)
        return _convert(_shape(images, wanted.shape), wanted)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read(path: Path, wanted: Wanted) -> NDArray[Any]:
    with path.open("rb") as file:
        start = file.read(6)
    if start == _NPY:
        return _read_npy(path)
    if start[:2] in _IDX:
        from ..data import read_idx

        return np.asarray(read_idx(path).numpy())
    return _read_picture(path, wanted)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise InputError(f"not an array of numbers: {error}") from None


def _read_picture(path: Path, wanted: Wanted) -> NDArray[np.uint8]:
    grey = _decode(path)
    height, width = _height_and_width(wanted.shape)
    if grey.size != (width, height):
        if not wanted.resize:
            size = f"{grey.size[0]} x {grey.size[1]} pixels"
            raise InputError(f"{size}, the network takes {width} x {height}; use --resize to change the picture's size")
        grey = grey.resize((width, height), Resampling.BOX if grey.size[0] > width else Resampling.BICUBIC)
    pixels = np.asarray(grey, dtype=np.uint8)  # [height, width]
    return 255 - pixels if wanted.invert else pixels


def _decode(path: Path) -> Picture:
    try:
        with Image.open(path) as picture:
            deep = picture.mode.startswith(("I", "F"))
            grey = picture.convert("L")
    except UnidentifiedImageError:
        raise InputError("neither a picture nor a .npy nor an IDX file") from None
    except Exception as error:  # a damaged picture raises OSError, SyntaxError, ValueError and others
        raise InputError(f"damaged picture: {error}") from error
    if deep:
        raise InputError("the picture has more than 8 bits a pixel; save it with 8")
    return grey


def _height_and_width(shape: Shape) -> tuple[int, int]:
    sides = [size for size in shape if size > 1] or [1, 1]
    if len(sides) == 2:
        return sides[0], sides[1]
    side = math.isqrt(sides[0])
    if len(sides) == 1 and side * side == sides[0]:
        return side, side
    raise InputError(f"the network takes shape {list(shape)}, which no greyscale picture has; give a .npy file")


def _shape(images: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """Return `[N, *shape]` for one image or many, dimensions of 1 and flattening overlooked."""
    squeezed = [size for size in shape if size != 1]
    flat = [math.prod(shape)] if len(squeezed) == 1 else []
    for dropped in (0, 1):  # one image, or a batch of them
        got = [size for size in images.shape[dropped:] if size != 1]
        if images.ndim >= dropped and (got == squeezed or [math.prod(got)] == flat):
            return images.reshape((-1 if dropped else 1, *shape))
    raise InputError(f"an array of shape {list(images.shape)}; the network takes {list(shape)} or [N, {_comma(shape)}]")


def _comma(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _convert(images: NDArray[Any], wanted: Wanted) -> NDArray[Any]:
    if images.dtype == wanted.dtype:
        return np.ascontiguousarray(images)
    if images.dtype == np.uint8 and wanted.dtype == "float32":
        return (images.astype(np.float32) - _HALF) / _HALF
    raise InputError(f"elements are {images.dtype}, the network takes {wanted.dtype}; convert the array first")
