"""Ops of networks with a memory: what is refused, what they compute, and that a file keeps them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featherbit.errors import FileErrorCode, GraphError, InputError
from featherbit.ir import Embedding, Flatten, Graph, Input, LookUp, MulReal, Op, State, load, reference, save
from recurrent_graphs import codes_of, gated_graph, token_batch

X = Input((), "x", shape=(3,), dtype="float32")


def _rejects(message: str, code: FileErrorCode, *ops: Op, output: str = "y") -> None:
    with pytest.raises(GraphError, match=message) as caught:
        Graph(ops, output)
    assert caught.value.code == code


def test_a_state_is_what_the_step_before_computed() -> None:
    graph = Graph((X, State((), "s", shape=(3,), next="y"), MulReal(("x", "s"), "y")), "y")
    assert graph.states == (graph.ops[1],)
    x = np.array([[2, 3, 4]], dtype=np.float32)
    assert reference.run(graph, x)["y"].tolist() == [[0, 0, 0]]
    assert reference.run(graph, x, {"s": np.array([[1, 2, 3]], dtype=np.float32)})["y"].tolist() == [[2, 6, 12]]


def test_a_state_must_take_over_a_value_of_its_own_kind() -> None:
    mul = MulReal(("x", "s"), "y")
    _rejects("takes over 'z', which no op", FileErrorCode.UNKNOWN_VALUE, X, State((), "s", shape=(3,), next="z"), mul)
    _rejects("needs an input float32", FileErrorCode.WRONG_VALUE_TYPE, X, State((), "s", shape=(2,), next="y"),
             Flatten(("s",), "f"), MulReal(("x", "x"), "y"))  # fmt: skip
    _rejects("the state of a step before", FileErrorCode.WRONG_VALUE_TYPE, X, State((), "s", shape=(3,), next="s"), mul)
    with pytest.raises(GraphError, match="next a value's name"):
        State((), "s", shape=(3,), next="no name")


def test_what_only_the_next_step_reads_is_used() -> None:
    ops = (X, State((), "s", shape=(3,), next="z"), MulReal(("x", "s"), "y"), MulReal(("x", "x"), "z"))
    assert Graph(ops, "y").states[0].next == "z"
    _rejects("its value is not used", FileErrorCode.UNUSED_VALUE, *ops[:1], ops[3], MulReal(("x", "x"), "y"))


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_an_embedding_gives_the_rows_of_its_tokens(bits: int) -> None:
    rows = np.random.default_rng(bits).integers(0, 2**bits, (5, 70))
    op = Embedding(("x",), "y", features=70, bits=bits, sign=bits == 1, codes=codes_of(rows, bits))
    assert op.tokens == 5
    graph = Graph((Input((), "x", shape=(1,), dtype="int32"), op), "y")
    got = reference.run(graph, np.array([[4], [0], [4]], dtype=np.int32))["y"]
    assert (got == (2 * rows[[4, 0, 4]] - 1 if bits == 1 else rows[[4, 0, 4]])).all()


@pytest.mark.parametrize("token", [-1, 5])
def test_a_token_outside_the_table_is_refused(token: int) -> None:
    op = Embedding(("x",), "y", features=3, bits=2, sign=False, codes=codes_of(np.ones((5, 3), int), 2))
    graph = Graph((Input((), "x", shape=(1,), dtype="int32"), op), "y")
    with pytest.raises(InputError, match=r"tokens are 0 to 4, got"):
        reference.run(graph, np.array([[token]], dtype=np.int32))
    assert reference.run(graph, np.zeros((0, 1), dtype=np.int32))["y"].shape == (0, 3)


def test_a_table_is_looked_up_at_the_nearest_entry() -> None:
    entries = np.array([-2, -1, 1, 2], dtype=np.float32)
    graph = Graph((Input((), "x", shape=(8,), dtype="float32"), LookUp(("x",), "y", step=0.5, table=entries)), "y")
    x = np.array([[-9, -0.75, -0.25, 0.25, 0.5, np.inf, -np.inf, 3e38]], dtype=np.float32)
    assert reference.run(graph, x)["y"].tolist() == [[-2, -2, 1, 1, 2, 2, -2, 2]]
    nan = reference.RULES[LookUp](graph.ops[1], np.array([[np.nan]], dtype=np.float32))
    assert nan.tolist() == [[-2]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": np.zeros(3, dtype=np.float32)}, "even number of entries, got 3"),
        ({"table": np.zeros(0, dtype=np.float32)}, "even number of entries, got 0"),
        ({"step": 0.0}, "step must be above 0"),
        ({"step": float("inf")}, "step must be above 0 and finite"),
    ],
)
def test_an_impossible_table_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        dataclasses.replace(LookUp(("x",), "y", step=1.0, table=np.zeros(4, dtype=np.float32)), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sign": True}, "signs have 1 bit, got 2"),
        ({"codes": np.zeros((3, 1), dtype=np.uint64)}, "2 planes of equally many rows, got 3"),
        ({"codes": np.zeros((0, 1), dtype=np.uint64)}, "2 planes of equally many rows, got 0"),
        ({"codes": np.full((4, 1), 64, dtype=np.uint64)}, "bits set past the 6 elements"),
        ({"features": 65}, "must have shape"),
    ],
)
def test_impossible_codes_are_refused(changes: dict[str, Any], message: str) -> None:
    good = Embedding(("x",), "y", features=6, bits=2, sign=False, codes=np.zeros((4, 1), dtype=np.uint64))
    with pytest.raises(GraphError, match=message):
        dataclasses.replace(good, **changes)


def test_tokens_are_no_numbers() -> None:
    _rejects("needs an input float32", FileErrorCode.WRONG_VALUE_TYPE, Input((), "x", shape=(3,), dtype="int32"),
             MulReal(("x", "x"), "y"))  # fmt: skip


def test_a_file_keeps_a_network_with_a_memory(tmp_path: Path) -> None:
    graph = gated_graph()
    save(graph, tmp_path / "g.fbit")
    again = load(tmp_path / "g.fbit")
    assert again == graph
    x = token_batch(graph, 1, 4)[0]
    state = {name: rows + 0.25 for name, rows in reference.zero_states(graph, 4).items()}
    for name, value in reference.run(graph, x, state).items():
        assert np.array_equal(value, reference.run(again, x, state)[name])
