"""Matrices of integers survive packing in every encoding that has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherbit.bits import pack_weight, unpack_weight, weight_range, words_per_row
from featherbit.errors import InputError
from oracles_bits import bit_of
from strategies_conv import ENCODINGS


@given(st.sampled_from(ENCODINGS), st.integers(0, 4), st.integers(1, 70), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_integers_come_back_and_the_planes_are_their_bits(encoding: tuple[str, int], n: int, k: int, seed: int) -> None:
    name, bits = encoding
    low, high, step = weight_range(bits, name)  # type: ignore[arg-type]
    weight = np.random.default_rng(seed).choice(np.arange(low, high + 1, step), size=(n, k))
    planes = pack_weight(weight, bits, name)  # type: ignore[arg-type]
    assert planes.shape == (bits * n, words_per_row(k))
    assert unpack_weight(planes, k, bits, name).tolist() == weight.tolist()  # type: ignore[arg-type]
    for row, column in np.ndindex(n, k):
        code = int(weight[row, column]) % 2**bits if step == 1 else (int(weight[row, column]) - low) // 2
        assert [bit_of(planes[plane * n + row], column) for plane in range(bits)] == [
            code >> plane & 1 for plane in range(bits)
        ]


@pytest.mark.parametrize(
    ("weight", "bits", "encoding", "words"),
    [
        ([[0]], 1, "sign", "lie in -1..1 by 2, got 0"),
        ([[2]], 2, "sign", "lie in -3..3 by 2, got 2"),
        ([[5]], 2, "sign", "got 5"),
        ([[2]], 2, "twos_complement", "lie in -2..1 by 1, got 2"),
        ([[1.0]], 2, "sign", "matrix of integers"),
        ([1], 2, "sign", "matrix of integers"),
        ([[1]], 1, "twos_complement", "2 to 8 bits, got 1"),
        ([[1]], 9, "sign", "1 to 8 bits, got 9"),
        ([[1]], True, "sign", "1 to 8 bits, got True"),
        ([[1]], 2, "unsigned", "unknown encoding"),
    ],
)
def test_what_an_encoding_does_not_have_is_refused(weight: list[int], bits: int, encoding: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pack_weight(np.array(weight), bits, encoding)  # type: ignore[arg-type]


def test_planes_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="cannot have shape"):
        unpack_weight(np.zeros((3, 1), dtype=np.uint64), 5, 2, "sign")
    with pytest.raises(InputError, match="cannot have shape"):
        unpack_weight(np.zeros((2, 2), dtype=np.uint64), 5, 2, "sign")
