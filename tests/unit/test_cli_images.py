"""Pictures, arrays and IDX files become what a network takes, or are refused with the size it needs."""

from __future__ import annotations

import contextlib
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from featherbit.cli._images import Wanted, read_images
from featherbit.errors import FeatherbitError, InputError

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
WANTED = Wanted((8, 8), "uint8")


def save_picture(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_a_grey_picture_is_read_as_it_is(tmp_path: Path) -> None:
    assert np.array_equal(read_images(save_picture(tmp_path / "a.png", PIXELS), WANTED), PIXELS[None])


def test_a_color_picture_becomes_grey(tmp_path: Path) -> None:
    color = np.stack([PIXELS] * 3, axis=-1)
    assert np.array_equal(read_images(save_picture(tmp_path / "a.png", color), WANTED), PIXELS[None])


def test_the_kind_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        np.save(file, PIXELS)
    assert np.array_equal(read_images(tmp_path / "a.png", WANTED), PIXELS[None])


def test_dark_on_light_is_turned_when_asked(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", PIXELS)
    assert np.array_equal(read_images(path, Wanted((8, 8), "uint8", invert=True)), 255 - PIXELS[None])


def test_another_size_is_refused_with_the_size_that_is_needed(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", np.zeros((20, 10), dtype=np.uint8))
    with pytest.raises(InputError, match=r"a\.png: 10 x 20 pixels, the network takes 8 x 8; use --resize"):
        read_images(path, WANTED)
    assert read_images(path, Wanted((8, 8), "uint8", resize=True)).shape == (1, 8, 8)


@pytest.mark.parametrize("shape", [(8, 8), (64,), (1, 8, 8), (8, 8, 1)])
def test_a_picture_fits_every_form_of_one_channel(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", PIXELS)
    assert np.array_equal(read_images(path, Wanted(shape, "uint8")), PIXELS.reshape(1, *shape))


def test_a_network_that_takes_no_picture_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no greyscale picture"):
        read_images(save_picture(tmp_path / "a.png", PIXELS), Wanted((3, 8, 8), "uint8"))


def test_pixels_become_fixed_point_numbers_for_a_float_network(tmp_path: Path) -> None:
    images = read_images(save_picture(tmp_path / "a.png", PIXELS), Wanted((8, 8), "float32"))
    assert images.dtype == np.float32
    assert np.array_equal(images, (PIXELS[None].astype(np.float64) - 128) / 128)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("shape", [(8, 8), (64,)])
def test_an_npy_file_holds_any_number_of_images(count: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([PIXELS] * count) if count else np.zeros((0, 8, 8), dtype=np.uint8))
    assert read_images(tmp_path / "a.npy", Wanted(shape, "uint8")).shape == (count, *shape)


@pytest.mark.parametrize("compress", [False, True])
def test_an_idx_file_is_read_raw_or_gzip(compress: bool, tmp_path: Path) -> None:
    content = struct.pack(">HBB3I", 0, 8, 3, 2, 8, 8) + PIXELS.tobytes() * 2
    (tmp_path / "images").write_bytes(gzip.compress(content) if compress else content)
    assert np.array_equal(read_images(tmp_path / "images", WANTED), np.stack([PIXELS, PIXELS]))


def test_a_picture_with_any_byte_changed_never_raises_anything_else(tmp_path: Path) -> None:
    whole = save_picture(tmp_path / "a.png", PIXELS).read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        (tmp_path / "b.png").write_bytes(changed)
        with contextlib.suppress(FeatherbitError):
            read_images(tmp_path / "b.png", WANTED)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((8, 9), dtype=np.uint8), r"shape \[8, 9\]; the network takes \[8, 8\] or \[N, 8, 8\]"),
        (np.zeros((64,), dtype=np.uint8), r"shape \[64\]"),
        (np.zeros((8, 8), dtype=np.float64), "float64, the network takes uint8"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(array: NDArray[np.generic], message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=message):
        read_images(tmp_path / "a.npy", WANTED)


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not an array of numbers"):
        read_images(tmp_path / "a.npy", WANTED)


def test_a_picture_of_more_than_8_bits_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="more than 8 bits"):
        read_images(tmp_path / "a.png", WANTED)


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(InputError, match=r"neither a picture nor a \.npy nor an IDX file"):
        read_images(tmp_path / "a.txt", WANTED)


def test_a_missing_file_and_a_damaged_picture_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_images(tmp_path / "no.png", WANTED)
    whole = save_picture(tmp_path / "a.png", PIXELS).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.png"):
        read_images(tmp_path / "cut.png", WANTED)
