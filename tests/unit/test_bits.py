"""Formats and packing: the odd cases, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from featherbit.bits import (
    WORD_BITS,
    BitFormat,
    pack_sign,
    pack_unsigned,
    unpack_sign,
    unpack_unsigned,
    words_per_row,
)
from featherbit.errors import InputError


@pytest.mark.parametrize(
    ("bits", "encoding", "scale", "values"),
    [
        (1, "sign", 1.0, [-1, 1]),
        (1, "unsigned", 1.0, [0, 1]),
        (2, "unsigned", 0.5, [0, 0.5, 1, 1.5]),
        (1, "twos_complement", 1.0, [0, -1]),
        (3, "twos_complement", 1.0, [0, 1, 2, 3, -4, -3, -2, -1]),
        (2, "power_of_two", 1.0, [0, 1, 0, -1]),
        (3, "power_of_two", 0.25, [0, 0.25, 0.5, 1, 0, -0.25, -0.5, -1]),
    ],
)
def test_a_format_says_the_value_of_each_code(bits: int, encoding: str, scale: float, values: list[float]) -> None:
    assert BitFormat(bits, encoding, scale).values().tolist() == values  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bits", "encoding", "scale"),
    [
        (0, "unsigned", 1.0),
        (9, "unsigned", 1.0),
        (True, "unsigned", 1.0),
        (2.0, "unsigned", 1.0),
        (2, "sign", 1.0),
        (1, "power_of_two", 1.0),
        (2, "gray", 1.0),
        (2, "unsigned", 0.0),
        (2, "unsigned", -1.0),
        (2, "unsigned", float("nan")),
        (2, "unsigned", float("inf")),
    ],
)
def test_a_format_that_is_none_is_refused(bits: object, encoding: object, scale: float) -> None:
    with pytest.raises(InputError):
        BitFormat(bits, encoding, scale)  # type: ignore[arg-type]


def test_equal_formats_are_equal_and_print_short() -> None:
    assert BitFormat(4, "unsigned") == BitFormat(4, "unsigned", scale=1.0)
    assert BitFormat(4, "unsigned") != BitFormat(4, "twos_complement")
    assert [str(BitFormat(4, e)) for e in ("unsigned", "twos_complement", "power_of_two")] == ["u4", "s4", "p4"]


@pytest.mark.parametrize(("k", "words"), [(0, 0), (1, 1), (63, 1), (64, 1), (65, 2), (2**31 - 1, 2**25)])
def test_a_row_has_as_few_words_as_hold_it(k: int, words: int) -> None:
    assert words_per_row(k) == words


def test_both_zeros_are_plus_one_and_nan_is_minus_one() -> None:
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, -5e-324])
    assert unpack_sign(pack_sign(x), 7).tolist() == [1, 1, -1, 1, -1, 1, -1]


def test_element_64_is_the_lowest_bit_of_the_second_word() -> None:
    x = -np.ones(65)
    x[64] = 1
    assert pack_sign(x).tolist() == [0, 1]


def test_words_are_little_endian_whatever_the_machine() -> None:
    x = -np.ones(64)
    x[8] = 1
    assert pack_sign(x).tobytes() == bytes([0, 1, 0, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0), (2, 0, 70), (0, 0)])
def test_empty_arrays_pack_to_empty_words(shape: tuple[int, ...]) -> None:
    words = pack_sign(np.zeros(shape))
    assert words.shape == (*shape[:-1], words_per_row(shape[-1]))
    assert unpack_sign(words, shape[-1]).shape == shape


def test_an_array_need_not_be_contiguous() -> None:
    x = np.arange(12.0).reshape(3, 4) - 6
    assert np.array_equal(pack_sign(x.T), pack_sign(np.ascontiguousarray(x.T)))
    words = pack_unsigned(np.arange(12).reshape(3, 4), 4)
    assert np.array_equal(unpack_unsigned(words[::2], 4), np.arange(12).reshape(3, 4)[::2])


def test_planes_come_before_words_and_the_lowest_first() -> None:
    planes = pack_unsigned(np.array([[1, 2, 4, 7]]), 3)
    assert planes.shape == (1, 3, 1)
    assert planes[0, :, 0].tolist() == [0b1001, 0b1010, 0b1100]


@pytest.mark.parametrize("bits", range(1, WORD_BITS // 8 + 1))
def test_every_code_survives_the_round_trip(bits: int) -> None:
    codes = np.arange(2**bits)
    assert np.array_equal(unpack_unsigned(pack_unsigned(codes, bits), len(codes)), codes)


@pytest.mark.parametrize(
    ("codes", "bits"),
    [
        (np.array([4]), 2),
        (np.array([-1]), 8),
        (np.array([1.0]), 2),
        (np.array([0]), 0),
        (np.array([0]), 9),
        (np.array(3), 2),
    ],
)
def test_codes_that_do_not_fit_are_refused(codes: np.ndarray, bits: int) -> None:
    with pytest.raises(InputError):
        pack_unsigned(codes, bits)


@pytest.mark.parametrize(
    ("words", "k"),
    [
        (np.zeros(1, dtype=np.int64), 3),
        (np.zeros(1, dtype=">u8"), 3),
        (np.zeros(2, dtype=np.uint64), 64),
        (np.zeros(1, dtype=np.uint64), 65),
        (np.zeros(0, dtype=np.uint64), -1),
        (np.zeros((), dtype=np.uint64), 1),
    ],
)
def test_words_that_are_no_row_of_that_length_are_refused(words: np.ndarray, k: int) -> None:
    with pytest.raises(InputError):
        unpack_sign(words, k)


@pytest.mark.parametrize("shape", [(1,), (0, 1), (9, 1)])
def test_planes_of_no_code_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        unpack_unsigned(np.zeros(shape, dtype=np.uint64), 3)


@pytest.mark.parametrize("x", [np.array(1.0), np.array(["a"]), np.array([1j])])
def test_what_has_no_signs_is_refused(x: np.ndarray) -> None:
    with pytest.raises(InputError):
        pack_sign(x)
