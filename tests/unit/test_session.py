"""A session: what it tells, what it takes, what it refuses, and its use from many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherbit.bits import pack_sign
from featherbit.errors import FileError, GraphError, InputError, KernelError
from featherbit.ir import (
    Add,
    Affine,
    Concat,
    Flatten,
    Graph,
    Input,
    Linear,
    MultiThreshold,
    Op,
    PackSign,
    Threshold,
    reference,
    save,
)
from featherbit.kernels import FORCE_VARIABLE, available_isas
from featherbit.runtime import Session, explain
from oracles_ir import assert_same_floats
from strategies_ir import affine, batch_for, every_op, linear

X = batch_for(every_op(), 9, 1)
Y = reference.run(every_op(), X)["y"]


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(every_op())


def test_a_session_tells_what_it_takes_and_gives(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session.input_shape == (2, 35)
    assert session.input_dtype == np.float32
    assert session.output_shape == (5,)
    assert session.threads == 1
    assert session.panel_bytes > 0
    monkeypatch.setenv(FORCE_VARIABLE, "scalar")
    assert Session(every_op()).isa == "scalar"
    assert Session(every_op(), isa=available_isas()[0]).isa == available_isas()[0]


def test_a_call_is_a_run(session: Session) -> None:
    assert_same_floats(session(X), Y)


def test_a_session_is_made_from_a_file(tmp_path: Path) -> None:
    save(every_op(), tmp_path / "net.fbit")
    for path in (tmp_path / "net.fbit", str(tmp_path / "net.fbit")):
        assert_same_floats(Session(path).run(X), Y)
    with pytest.raises(FileError):
        Session(tmp_path / "missing.fbit")


def test_predict_gives_the_first_of_the_greatest_scores() -> None:
    ops: list[Op] = [Input((), "x", shape=(2,), dtype="float32"), PackSign(("x",), "bits")]
    weight = pack_sign(np.array([[1, 1], [1, 1], [-1, -1]]))
    ops.append(Linear(("bits",), "sum", weight=weight, in_features=2))
    classes = Session(Graph(tuple(ops), "sum")).predict(np.array([[1, 1], [-1, -1], [1, -1]], dtype=np.float32))
    assert classes.dtype == np.int64
    assert classes.tolist() == [0, 2, 0]


def test_predict_of_nothing_is_nothing(session: Session) -> None:
    assert session.predict(X[:0]).shape == (0,)
    assert session.run(X[:0]).shape == (0, 5)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (X.astype(np.float64), "takes a float32 array, got float64"),
        (X.astype(">f4"), "takes a float32 array"),
        (np.zeros((3, 2, 35), np.uint8), "takes a float32 array, got uint8"),
        (X.tolist(), "takes a float32 array, got list"),
        (None, "got NoneType"),
        (X[0], r"takes shape \[batch, 2, 35\], got \[2, 35\]"),
        (X.reshape(9, 70), r"got \[9, 70\]"),
        (X[:, :, :34], r"got \[9, 2, 34\]"),
        (X[None], r"got \[1, 9, 2, 35\]"),
        (np.float32(1.0), "takes a float32 array"),
        (np.array(1.0, dtype=np.float32), r"got \[\]"),
        (np.where(np.arange(70).reshape(1, 2, 35) == 69, np.float32(np.nan), X), "NaN"),
    ],
)
def test_a_wrong_input_is_refused_with_the_reason(session: Session, x: Any, reason: str) -> None:
    for call in (session.run, session.predict, session.trace):
        with pytest.raises(InputError, match=reason):
            call(x)


@pytest.mark.parametrize("threads", [0, -3, True, 1.5, "2"])
def test_a_wrong_thread_count_is_refused(session: Session, threads: Any) -> None:
    with pytest.raises(InputError, match="threads must be an integer from 1 to 1024"):
        Session(every_op(), threads=threads)
    for call in (session.run, session.predict, session.trace):
        with pytest.raises(InputError, match="threads must be an integer from 1 to 1024"):
            call(X, threads=threads)


def test_an_unknown_isa_is_refused() -> None:
    with pytest.raises(KernelError, match="use one of"):
        Session(every_op(), isa="sse9")


def test_memory_of_any_layout_is_taken_and_left_as_it_is(session: Session) -> None:
    wide = np.zeros((18, 2, 70), dtype=np.float32)
    wide[::2, :, ::2] = X
    unaligned = np.frombuffer(b"\0" + X.tobytes(), dtype=np.uint8)[1:].view(np.float32).reshape(X.shape)
    read_only = X.copy()
    read_only.setflags(write=False)
    for x in (wide[::2, :, ::2], np.asfortranarray(X), X[::-1][::-1], unaligned, read_only):
        before = x.copy()
        assert_same_floats(session.run(x), Y)
        assert_same_floats(session.trace(x)["y"], Y)
        assert np.array_equal(x, before)


def test_results_are_new_memory(session: Session) -> None:
    first = session.run(X)
    kept = first.copy()
    second = session.run(X[::-1])
    assert_same_floats(first, kept)
    assert not np.shares_memory(first, second)
    assert first.flags.writeable


def test_many_threads_share_one_session() -> None:
    graph = every_op()
    session = Session(graph)
    inputs = [batch_for(graph, size, size) for size in (1, 7, 65, 300, 0, 33)]
    expected = [reference.run(graph, x)["y"] for x in inputs]

    def call(turn: int) -> np.ndarray:
        x = inputs[turn % len(inputs)]
        return session.trace(x)["y"] if turn % 5 == 0 else session.run(x, threads=1 + turn % 2)

    with ThreadPoolExecutor(8) as pool:
        for turn, got in enumerate(pool.map(call, range(96))):
            assert_same_floats(got, expected[turn % len(inputs)])


def test_uint8_pixels_need_no_conversion() -> None:
    rng = np.random.default_rng(4)
    ops = (
        Input((), "x", shape=(3, 5), dtype="uint8"),
        Flatten(("x",), "flat"),
        linear("flat", "sum", 15, 4, rng, zero_point=128),
        affine("sum", "y", 4, rng, fused=False),
    )
    graph = Graph(ops, "y")
    x = batch_for(graph, 7, 5)
    assert_same_floats(Session(graph).run(x), reference.run(graph, x)["y"])
    with pytest.raises(InputError, match="takes a uint8 array, got float32"):
        Session(graph).run(x.astype(np.float32))


def test_a_graph_that_computes_nothing_is_refused() -> None:
    x = Input((), "x", shape=(4,), dtype="float32")
    with pytest.raises(GraphError, match="nothing to run"):
        Session(Graph((x,), "x"))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_flattened_input_is_copied(dtype: Any) -> None:
    graph = Graph((Input((), "x", shape=(2, 3), dtype=dtype), Flatten(("x",), "flat")), "flat")
    x = batch_for(graph, 5, 3)
    for got in (Session(graph).run(x), Session(graph).trace(x)["flat"]):
        assert np.array_equal(got, x.reshape(5, 6))
        assert got.dtype == x.dtype


def test_a_sum_stored_before_it_is_added_to_keeps_the_other_sum() -> None:
    rng = np.random.default_rng(5)
    flips = pack_sign(np.full(4, -1))
    ops = (
        Input((), "x", shape=(9,), dtype="uint8"),
        linear("x", "sum1", 9, 4, rng, zero_point=128),
        Threshold(("sum1",), "bits", thresholds=np.zeros(4, np.int32), flips=flips),
        linear("bits", "sum2", 4, 4, rng),
        Add(("sum2", "sum1"), "sum3"),
        Concat(("sum2", "sum3"), "y"),
    )
    graph = Graph(ops, "y")
    x = batch_for(graph, 5, 3)
    for isa in available_isas():
        assert np.array_equal(Session(graph, isa=isa).run(x), reference.run(graph, x)["y"])


def test_codes_that_are_added_are_traced_as_codes() -> None:
    rng = np.random.default_rng(11)
    flips = pack_sign(np.full(3, -1))
    ladder = np.sort(rng.integers(-400, 400, size=(3, 7)), axis=1).astype(np.int32)
    ops = (
        Input((), "x", shape=(9,), dtype="uint8"),
        linear("x", "sum", 9, 3, rng, zero_point=128),
        MultiThreshold(("sum",), "codes", bits=3, thresholds=ladder, flips=flips),
        Threshold(("sum",), "signs", thresholds=ladder[:, 3], flips=flips),
        Add(("codes", "codes"), "doubled", a_zero_point=2),
        Add(("doubled", "signs"), "y", a_multiplier=4),
    )
    graph = Graph(ops, "y")
    x = batch_for(graph, 5, 3)
    traced, expected = Session(graph).trace(x), reference.run(graph, x)
    for name, value in expected.items():
        assert traced[name].dtype == value.dtype
        assert np.array_equal(traced[name], value)


def test_a_session_explains_its_own_plan() -> None:
    rows = Session(every_op(), isa="scalar").explain()
    assert rows == explain(every_op(), "scalar")
    assert [row.op for row in rows] == [type(op).__name__ for op in every_op().ops[1:]]


def test_extreme_thresholds_with_a_zero_point_mean_always_and_never() -> None:
    ends = np.array([-(2**31), 2**31 - 1, -(2**31) + 1, 2**31 - 2], dtype=np.int32)
    thresholds = np.repeat(ends, 4)
    for zero_point in (0, 1, 128, 255):
        ops = (
            Input((), "x", shape=(300,), dtype="uint8"),
            linear("x", "sum", 300, 16, np.random.default_rng(8), zero_point=zero_point),
            Threshold(("sum",), "bits", thresholds=thresholds, flips=pack_sign(np.tile([-1, 1], 8))),
        )
        graph = Graph(ops, "bits")
        for pixels in (0, 255):
            x = np.full((3, 300), pixels, dtype=np.uint8)
            for isa in available_isas():
                assert np.array_equal(Session(graph, isa=isa).run(x), reference.run(graph, x)["bits"])


def test_an_affine_of_any_bit_pattern_is_rounded_as_declared() -> None:
    rng = np.random.default_rng(9)
    for fused in (False, True):
        multiplier = rng.uniform(-3, 3, 64).astype(np.float32)
        addend = (-multiplier * rng.integers(-20, 20, 64)).astype(np.float32)  # cancels: the roundings show
        ops = (
            Input((), "x", shape=(33,), dtype="float32"),
            PackSign(("x",), "bits"),
            linear("bits", "sum", 33, 64, rng),
            Affine(("sum",), "y", multiplier=multiplier, addend=addend, fused=fused),
        )
        graph = Graph(ops, "y")
        x = batch_for(graph, 50, 10)
        assert_same_floats(Session(graph).run(x), reference.run(graph, x)["y"])
