"""A session against the reference interpreter, value by value, on every instruction set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featherbit.ir import Graph, reference
from featherbit.kernels import available_isas
from featherbit.runtime import Session
from oracles_ir import assert_same_floats
from strategies_ir import batch_for, every_op, graphs

BATCHES = (0, 1, 7, 65, 300)
per_isa = pytest.mark.parametrize("isa", available_isas())


runnable = graphs().filter(lambda graph: graph.output != graph.input.output)


def assert_same_values(got: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert_same_value(got[name], value)


def assert_same_value(got: NDArray[Any], expected: NDArray[Any]) -> None:
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    if expected.dtype == np.float32:
        assert_same_floats(got, expected)
    else:
        assert np.array_equal(got, expected)


@per_isa
@given(runnable, st.sampled_from(BATCHES), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_every_value_is_the_references(isa: str, graph: Graph, batch: int, threads: int, seed: int) -> None:
    x = batch_for(graph, batch, seed)
    expected = reference.run(graph, x)
    session = Session(graph, isa=isa, threads=threads)
    assert_same_value(session.run(x), expected[graph.output])
    assert_same_values(session.trace(x), expected)


@per_isa
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_one_session_takes_batches_of_any_size_in_any_order(isa: str, threads: int) -> None:
    graph = every_op()
    session = Session(graph, isa=isa)
    for batch in (1, 300, 0, 65, 193, 7, 1):
        x = batch_for(graph, batch, batch)
        expected = reference.run(graph, x)
        assert_same_value(session.run(x, threads=threads), expected[graph.output])
        assert_same_values(session.trace(x, threads=threads), expected)


@per_isa
@pytest.mark.parametrize("output", ["codes", "sum1", "bits1", "sum2", "y"])
def test_a_graph_may_end_in_any_kind_of_value(isa: str, output: str) -> None:
    ops = every_op().ops
    last = next(place for place, op in enumerate(ops) if op.output == output)
    graph = Graph(ops[: last + 1], output)
    x = batch_for(graph, 65, 3)
    expected = reference.run(graph, x)
    session = Session(graph, isa=isa, threads=2)
    assert_same_value(session.run(x), expected[output])
    assert_same_values(session.trace(x), expected)
    assert session.predict(x).tolist() == np.argmax(expected[output].reshape(65, -1), axis=1).tolist()
