"""Packing against an oracle that looks at one element at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from featherbit.bits import pack_sign, pack_unsigned, unpack_sign, unpack_unsigned
from oracles_bits import bit_of, pack_bits_oracle

SIZES = st.one_of(st.sampled_from([0, 1, 63, 64, 65, 127, 128, 129]), st.integers(0, 200))
DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8])


@given(st.data(), SIZES, st.integers(0, 3), DTYPES)
@settings(deadline=None, max_examples=60)
def test_packed_signs_are_the_oracles(data: st.DataObject, k: int, rows: int, dtype: type) -> None:
    x = data.draw(hnp.arrays(dtype, (rows, k)))
    words = pack_sign(x)
    assert words.dtype == np.uint64
    assert words.tolist() == [pack_bits_oracle([int(value >= 0) for value in row]) for row in x.tolist()]
    signs = unpack_sign(words, k)
    assert signs.dtype == np.int8
    assert signs.tolist() == [[1 if value >= 0 else -1 for value in row] for row in x.tolist()]


@given(st.data(), SIZES, st.integers(1, 8))
@settings(deadline=None, max_examples=60)
def test_plane_p_holds_bit_p_of_each_code(data: st.DataObject, k: int, bits: int) -> None:
    codes = data.draw(hnp.arrays(np.uint8, (2, k), elements=st.integers(0, 2**bits - 1)))
    planes = pack_unsigned(codes, bits)
    for row, row_planes in zip(codes.tolist(), planes, strict=True):
        assert row_planes.tolist() == [pack_bits_oracle([code >> p & 1 for code in row]) for p in range(bits)]
    unpacked = unpack_unsigned(planes, k)
    assert unpacked.dtype == np.uint8
    assert np.array_equal(unpacked, codes)


@given(SIZES, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_words_survive_unpacking_and_packing(k: int, seed: int) -> None:
    words = pack_sign(np.random.default_rng(seed).choice([-1, 1], size=(3, k)))
    assert np.array_equal(pack_sign(unpack_sign(words, k)), words)


@pytest.mark.parametrize("k", [70_001, 2**17])
def test_long_rows_pack_like_short_ones(k: int) -> None:
    x = np.random.default_rng(k).normal(size=k)
    words = pack_sign(x)
    assert len(words) == (k + 63) // 64
    assert [bit_of(words, i) for i in range(k)] == (x >= 0).astype(int).tolist()
    assert np.array_equal(pack_sign(unpack_sign(words, k)), words)
