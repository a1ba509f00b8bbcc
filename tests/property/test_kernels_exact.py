"""Every native kernel, on every instruction set of this machine, against numpy in int64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherbit.kernels import Panel, aligned_empty, available_isas, gemm_u1u1, gemm_u8u1, pack_f32u1, threshold_i32u1
from oracles_kernels import products_of, thresholded, words_of

ISAS = available_isas()
ROWS = st.sampled_from([0, 1, 2, 3, 5, 13, 33])
COLUMNS = st.sampled_from([0, 1, 15, 16, 17, 31, 33, 49, 63, 64, 65])
LENGTHS = st.sampled_from([0, 1, 63, 64, 65, 511, 512, 513])
SEEDS = st.integers(0, 2**32 - 1)
LONG = 70_003
INT32_ENDS = np.array([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 2, 2**31 - 1], dtype=np.int32)
SPECIAL = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 2.0, -2.0], dtype=np.float32)

per_isa = pytest.mark.parametrize("isa", ISAS)
examples = settings(deadline=None, max_examples=25)


def random_bits(rng: np.random.Generator, rows: int, k: int) -> np.ndarray:
    """Return random truth values, sometimes all the same."""
    return rng.random((rows, k)) < rng.choice([0.0, 0.5, 0.5, 0.5, 1.0])


@pytest.fixture(scope="module")
def long_rows() -> dict[float, tuple[np.ndarray, ...]]:
    """Rows of more than 70,000 random, all equal and all differing bits, and of bytes, with their packed words."""
    rng = np.random.default_rng(7)
    rows = {}
    for share in (0.0, 0.5, 1.0):
        a, b = rng.random((5, LONG)) < share, rng.random((18, LONG)) < (0.5 if share == 0.5 else 1.0)
        codes = rng.integers(0, 256, a.shape, np.uint8) if share == 0.5 else np.full(a.shape, 255, np.uint8)
        rows[share] = (codes, words_of(a), words_of(b), products_of(signs(a), signs(b)), products_of(codes, signs(b)))
    return rows


def signs(bits: np.ndarray) -> np.ndarray:
    return np.where(bits, 1, -1)


@per_isa
@given(ROWS, COLUMNS, LENGTHS, st.integers(1, 3), SEEDS)
@examples
def test_sign_products_are_exact(isa: str, m: int, n: int, k: int, threads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_bits(rng, m, k), random_bits(rng, n, k)
    got = gemm_u1u1(words_of(a), words_of(b), k, isa=isa, threads=threads)
    assert got.dtype == np.int32
    assert np.array_equal(got, products_of(signs(a), signs(b)))


@per_isa
@given(ROWS, COLUMNS, LENGTHS, st.integers(1, 3), SEEDS)
@examples
def test_byte_products_are_exact(isa: str, m: int, n: int, k: int, threads: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.choice(np.array([0, 1, 127, 128, 254, 255], dtype=np.uint8), size=(m, k))
    b = random_bits(rng, n, k)
    got = gemm_u8u1(a, words_of(b), isa=isa, threads=threads)
    assert got.dtype == np.int32
    assert np.array_equal(got, products_of(a, signs(b)))


@per_isa
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_products_of_more_than_70000_elements_are_exact(
    isa: str, share: float, long_rows: dict[float, tuple[np.ndarray, ...]]
) -> None:
    codes, a, b, sign_products, byte_products = long_rows[share]
    for threads in (1, 2):
        assert np.array_equal(gemm_u1u1(a, b, LONG, isa=isa, threads=threads), sign_products)
        assert np.array_equal(gemm_u8u1(codes, b, isa=isa, threads=threads), byte_products)


@per_isa
def test_rows_split_over_threads_give_the_same_products(isa: str) -> None:
    rng = np.random.default_rng(8)
    a, b = words_of(rng.random((200, 130)) < 0.5), words_of(rng.random((70, 130)) < 0.5)
    one = gemm_u1u1(a, b, 130, isa=isa)
    for threads in (2, 3, 4):
        assert np.array_equal(gemm_u1u1(a, b, 130, isa=isa, threads=threads), one)


@per_isa
@pytest.mark.parametrize(("columns", "offset"), [(2048, 0), (2048, 1), (2064, 0), (2049, 0)])
def test_a_result_larger_than_the_caches_is_exact_wherever_it_begins(isa: str, columns: int, offset: int) -> None:
    rng = np.random.default_rng(10)
    rows = 1027  # more than 8 MiB of int32, written past the caches where each row begins on a line
    a, b = rng.random((rows, 3)) < 0.5, rng.random((columns, 3)) < 0.5
    expected = products_of(signs(a), signs(b))
    out = aligned_empty((rows * columns + offset,), np.int32)[offset:].reshape(rows, columns)
    for threads in (1, 2):
        out[...] = -77
        gemm_u1u1(words_of(a), words_of(b), 3, isa=isa, threads=threads, out=out)
        assert np.array_equal(out, expected)
        out[...] = -77
        gemm_u8u1(a.astype(np.uint8), words_of(b), isa=isa, threads=threads, out=out)
        assert np.array_equal(out, products_of(a, signs(b)))


@per_isa
@given(ROWS, LENGTHS, st.integers(1, 3), SEEDS)
@examples
def test_packed_floats_are_exact(isa: str, m: int, k: int, threads: int, seed: int) -> None:
    x = np.random.default_rng(seed).choice(SPECIAL, size=(m, k))
    with np.errstate(invalid="ignore"):
        expected = words_of(x >= 0)
    assert np.array_equal(pack_f32u1(x, isa=isa, threads=threads), expected)


@per_isa
def test_a_long_row_of_floats_is_packed(isa: str) -> None:
    x = np.random.default_rng(9).normal(size=(2, LONG)).astype(np.float32)
    assert np.array_equal(pack_f32u1(x, isa=isa), words_of(x >= 0))


@per_isa
@given(ROWS, COLUMNS, SEEDS)
@examples
def test_thresholds_are_exact(isa: str, m: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    acc, thresholds = rng.choice(INT32_ENDS, size=(m, n)), rng.choice(INT32_ENDS, size=n)
    flips = rng.random(n) < 0.5
    got = threshold_i32u1(acc, thresholds, words_of(flips[None, :])[0], isa=isa)
    assert np.array_equal(got, words_of(thresholded(acc, thresholds, flips)))


@per_isa
@given(COLUMNS, LENGTHS, SEEDS)
@examples
def test_a_panel_serves_many_products(isa: str, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    b = random_bits(rng, n, k)
    weights = words_of(b)
    panel, bytes_panel = Panel(weights, k), Panel(weights, k, "u8")
    weights[:] = 0  # a panel holds a copy
    for m in (1, 4, 0, 9):
        a = random_bits(rng, m, k)
        codes = rng.integers(0, 256, size=(m, k), dtype=np.uint8)
        assert np.array_equal(gemm_u1u1(words_of(a), panel, k, isa=isa), products_of(signs(a), signs(b)))
        assert np.array_equal(gemm_u8u1(codes, bytes_panel, isa=isa), products_of(codes, signs(b)))
