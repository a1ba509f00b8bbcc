"""The fused multiply-add against exact fractions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherbit.ir._rounding import fma_f32
from oracles_ir import assert_same_floats, fma_oracle

FLOATS = st.floats(width=32)
MAX = float(np.finfo(np.float32).max)
TINY = 2.0**-149


def assert_fma_is_exact(triples: list[tuple[float, float, float]]) -> None:
    a, b, c = (np.array(column, dtype=np.float32) for column in zip(*triples, strict=True))
    expected = np.array([fma_oracle(*map(float, triple)) for triple in zip(a, b, c, strict=True)], dtype=np.float32)
    assert_same_floats(fma_f32(a, b, c), expected)


@given(st.lists(st.tuples(FLOATS, FLOATS, FLOATS), min_size=1, max_size=50))
@settings(deadline=None, max_examples=100)
def test_any_floats_are_rounded_once(triples: list[tuple[float, float, float]]) -> None:
    assert_fma_is_exact(triples)


@given(st.lists(st.tuples(st.integers(-(2**24), 2**24), FLOATS, FLOATS), min_size=1, max_size=50))
@settings(deadline=None, max_examples=50)
def test_sums_of_a_network_are_rounded_once(triples: list[tuple[float, float, float]]) -> None:
    assert_fma_is_exact(triples)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_sums_beside_a_tie_are_rounded_once(seed: int) -> None:
    """The product lies halfway between two floats, the addend is too small for float64 to see: the double rounding."""
    rng = np.random.default_rng(seed)
    a = (2 * rng.integers(2**11, 2**12, 200) + 1).astype(np.float32)  # 13 bits, odd
    b = (2 * rng.integers(2**10, 2**11, 200) + 1).astype(np.float32)  # 12 bits, odd: most products have 25 bits
    c = rng.choice([-1, 1], 200) * np.exp2(rng.integers(-149, -30, 200)).astype(np.float32)
    assert_fma_is_exact(list(zip(a.tolist(), b.tolist(), c.tolist(), strict=True)))


def test_rounding_first_to_float64_would_be_wrong() -> None:
    a, b, c = np.float32([4097]), np.float32([4097]), np.float32([2.0**-60])  # 2^24 + 2^13 + 1: a tie; c tips it
    twice = (a.astype(np.float64) * b + c).astype(np.float32)
    assert fma_f32(a, b, c)[0] == 2**24 + 2**13 + 2
    assert twice[0] == 2**24 + 2**13


@pytest.mark.parametrize(
    "triple",
    [
        (MAX, 1.0, 2.0**103),  # exactly half a step above the largest: a tie, to even, overflows
        (MAX, 1.0, np.nextafter(np.float32(2.0**103), np.float32(0))),
        (MAX, MAX, -MAX),
        (MAX, 2.0, -MAX),
        (TINY, 0.5, 0.0),  # half the smallest: a tie, to even, is zero
        (TINY, 0.5, TINY),
        (TINY, -0.5, 0.0),
        (TINY, TINY, TINY),
        (TINY, TINY, -TINY),
        (TINY, 0.75, 0.0),
        (1.0, 2.0**-126, -TINY),
        (1.0, 1.0, -1.0),
        (-1.0, 1.0, 1.0),
        (0.0, -1.0, -0.0),
        (0.0, -1.0, 0.0),
        (0.0, np.inf, 1.0),
        (np.inf, 1.0, -np.inf),
        (np.inf, -1.0, 5.0),
        (np.inf, 1.0, np.nan),
        (np.nan, 1.0, 1.0),
        (3.0, 1.0, -np.inf),
    ],
)
def test_the_ends_of_the_range_are_rounded_once(triple: tuple[float, float, float]) -> None:
    assert_fma_is_exact([triple])


def test_shapes_broadcast_as_in_the_network() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert fma_f32(x, np.float32([1, 2]), np.float32([0, 1])).tolist() == [[0, 3], [2, 7], [4, 11]]
    assert fma_f32(x[:0], np.float32([1, 2]), np.float32([0, 1])).shape == (0, 2)
