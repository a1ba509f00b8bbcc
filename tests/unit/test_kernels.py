"""The typed access to the kernels: instruction sets, panels, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featherbit.errors import KernelError
from featherbit.kernels import (
    FORCE_VARIABLE,
    Panel,
    active_isa,
    aligned_empty,
    available_isas,
    compiled_isas,
    gemm_u1u1,
    gemm_u8u1,
    pack_f32u1,
    resolve_isa,
    threshold_i32u1,
)

WORDS = np.zeros((3, 2), dtype=np.uint64)  # three rows of up to 128 signs
BYTES = np.zeros((3, 100), dtype=np.uint8)
FLOATS = np.zeros((3, 100), dtype=np.float32)
SUMS = np.zeros((3, 100), dtype=np.int32)
ONE_ROW = np.zeros(100, dtype=np.int32)
FLIPS = np.zeros(2, dtype=np.uint64)


def test_the_available_isas_are_compiled_ones_and_end_in_scalar() -> None:
    assert set(available_isas()) <= set(compiled_isas())
    assert available_isas()[-1] == "scalar"
    assert [isa for isa in compiled_isas() if isa in available_isas()] == list(available_isas())


def test_the_best_isa_is_used_where_none_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FORCE_VARIABLE, raising=False)
    assert active_isa() == resolve_isa(None) == available_isas()[0]
    monkeypatch.setenv(FORCE_VARIABLE, "")
    assert active_isa() == available_isas()[0]


@pytest.mark.parametrize("isa", available_isas())
def test_the_variable_forces_each_isa(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCE_VARIABLE, isa)
    assert active_isa() == resolve_isa(None) == isa
    assert resolve_isa("scalar") == "scalar"
    assert gemm_u1u1(WORDS, WORDS, 100).tolist() == [[100] * 3] * 3


def test_the_variable_is_obeyed_by_a_fresh_process() -> None:
    command = [sys.executable, "-c", "from featherbit.kernels import active_isa; print(active_isa())"]
    forced = {**os.environ, FORCE_VARIABLE: "scalar"}
    assert subprocess.run(command, env=forced, capture_output=True, text=True, check=True).stdout == "scalar\n"


@pytest.mark.parametrize("name", ["sse9", "AVX2", "scalar ", "avx"])
def test_an_unknown_isa_is_refused_with_the_names_there_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCE_VARIABLE, name)
    with pytest.raises(KernelError, match=FORCE_VARIABLE) as caught:
        active_isa()
    assert repr(name) in str(caught.value)
    assert ", ".join(available_isas()) in str(caught.value)
    with pytest.raises(KernelError, match="no such instruction set"):
        gemm_u1u1(WORDS, WORDS, 100, isa=name)


def test_an_isa_that_the_processor_lacks_is_refused_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherbit.kernels._isa.available_isas", lambda: ("scalar",))
    best = compiled_isas()[0]
    if best == "scalar":
        pytest.skip("this build holds scalar alone")
    with pytest.raises(KernelError, match="this processor cannot run it; use one of scalar"):
        resolve_isa(best)


_WRONG: dict[str, Callable[[], Any]] = {
    "a list": lambda: gemm_u1u1([[0]], WORDS, 100),  # type: ignore[arg-type]
    "words of another dtype": lambda: gemm_u1u1(WORDS.astype(np.int64), WORDS, 100),
    "words in big-endian order": lambda: gemm_u1u1(WORDS.astype(">u8"), WORDS, 100),
    "a vector": lambda: gemm_u1u1(WORDS[0], WORDS, 100),
    "rows too short": lambda: gemm_u1u1(WORDS[:, :1].copy(), WORDS, 100),
    "weights too short": lambda: gemm_u1u1(WORDS, WORDS[:, :1].copy(), 100),
    "rows too long": lambda: gemm_u1u1(WORDS, WORDS, 64),
    "rows with gaps": lambda: gemm_u1u1(np.zeros((3, 4), np.uint64)[:, ::2], WORDS, 100),
    "weights with gaps": lambda: gemm_u1u1(WORDS, np.zeros((6, 2), np.uint64)[::2], 100),
    "a transposed matrix": lambda: gemm_u1u1(np.zeros((2, 3), np.uint64).T, WORDS, 100),
    "a negative k": lambda: gemm_u1u1(WORDS, WORDS, -1),
    "a panel of another k": lambda: gemm_u1u1(WORDS, Panel(WORDS, 99), 100),
    "a panel for bytes": lambda: gemm_u1u1(WORDS, Panel(WORDS, 100, "u8"), 100),
    "a panel for signs": lambda: gemm_u8u1(BYTES, Panel(WORDS, 100)),
    "signed bytes": lambda: gemm_u8u1(BYTES.astype(np.int8), WORDS),
    "bytes with gaps": lambda: gemm_u8u1(np.zeros((3, 200), np.uint8)[:, ::2], WORDS),
    "bytes and weights of other lengths": lambda: gemm_u8u1(BYTES[:, :64].copy(), WORDS),
    "float64": lambda: pack_f32u1(FLOATS.astype(np.float64)),
    "floats with gaps": lambda: pack_f32u1(FLOATS[:, ::2]),
    "a cube of floats": lambda: pack_f32u1(FLOATS[None]),
    "sums of another dtype": lambda: threshold_i32u1(SUMS.astype(np.int64), ONE_ROW, FLIPS),
    "too few thresholds": lambda: threshold_i32u1(SUMS, ONE_ROW[:99], FLIPS),
    "thresholds of another dtype": lambda: threshold_i32u1(SUMS, ONE_ROW.astype(np.int64), FLIPS),
    "too few flips": lambda: threshold_i32u1(SUMS, ONE_ROW, FLIPS[:1]),
    "a panel of another operand": lambda: Panel(WORDS, 100, "u2"),  # type: ignore[arg-type]
    "a panel whose int32 sums overflow": lambda: Panel(np.zeros((0, 2**17), np.uint64), 2**23, "u8"),
}


@pytest.mark.parametrize("what", _WRONG)
def test_what_a_kernel_does_not_take_is_refused(what: str) -> None:
    with pytest.raises(KernelError):
        _WRONG[what]()


@pytest.mark.parametrize("threads", [0, -1, True, 1.0, "2", None])
def test_a_thread_count_that_is_no_positive_integer_is_refused(threads: Any) -> None:
    calls = [
        lambda: gemm_u1u1(WORDS, WORDS, 100, threads=threads),
        lambda: gemm_u8u1(BYTES, WORDS, threads=threads),
        lambda: pack_f32u1(FLOATS, threads=threads),
    ]
    for call in calls:
        with pytest.raises(KernelError, match="threads must be an integer from 1 to 1024"):
            call()


def test_a_message_says_what_came() -> None:
    with pytest.raises(KernelError, match=r"a must be a 2-d array of uint64, got float32 \(3, 100\)"):
        gemm_u1u1(FLOATS, WORDS, 100)  # type: ignore[arg-type]
    with pytest.raises(KernelError, match="C-contiguous"):
        pack_f32u1(FLOATS[:, ::2])


def test_read_only_arrays_are_taken_and_never_written() -> None:
    words = np.full((3, 2), 2**36 - 1, dtype=np.uint64)
    words.setflags(write=False)
    assert gemm_u1u1(words, words, 100).tolist() == [[100] * 3] * 3


def test_more_threads_than_rows_and_columns_do_no_harm() -> None:
    assert gemm_u1u1(WORDS, WORDS, 100, threads=16).tolist() == [[100] * 3] * 3
    assert gemm_u8u1(BYTES, WORDS, threads=16).tolist() == [[0] * 3] * 3
    assert pack_f32u1(FLOATS, threads=16).tolist() == [[2**64 - 1, 2**36 - 1]] * 3


def test_a_product_writes_where_it_is_told() -> None:
    out = np.full((3, 3), -7, dtype=np.int32)
    assert gemm_u1u1(WORDS, WORDS, 100, out=out) is out
    assert out.tolist() == [[100] * 3] * 3
    assert gemm_u8u1(BYTES, WORDS, out=out) is out
    assert out.tolist() == [[0] * 3] * 3


def _read_only() -> np.ndarray:
    array = np.zeros((3, 3), np.int32)
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 4), np.int32),
        np.zeros((2, 3), np.int32),
        np.zeros((4, 3), np.int32),
        np.zeros((3, 3), np.int64),
        np.zeros((3, 6), np.int32)[:, ::2],
        np.zeros(9, np.int32),
        _read_only(),
        [[0] * 3] * 3,
    ],
    ids=["wide", "low", "high", "int64", "gaps", "vector", "read-only", "list"],
)
def test_a_result_that_does_not_fit_is_refused(out: Any) -> None:
    with pytest.raises(KernelError):
        gemm_u1u1(WORDS, WORDS, 100, out=out)
    with pytest.raises(KernelError):
        gemm_u8u1(BYTES, WORDS, out=out)


def test_a_panel_knows_its_shape() -> None:
    panel = Panel(WORDS, 100)
    assert (panel.n, panel.k, panel.operand) == (3, 100, "u1")


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (7, 0, 2), (1000,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.uint64])
def test_aligned_memory_begins_on_a_cache_line(shape: tuple[int, ...], dtype: type) -> None:
    array = aligned_empty(shape, dtype)
    assert array.shape == shape
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.ctypes.data % 64 == 0 or array.size == 0
    array[...] = 1
    assert (array == 1).all()
