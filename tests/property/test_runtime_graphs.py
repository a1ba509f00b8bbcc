"""Random networks of any ops: the native plan against the reference, whatever kernels and threads it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featherbit.bits import pack_sign
from featherbit.errors import GraphError
from featherbit.ir import ChannelsLast, Graph, Input, Op, SumPool2d, Threshold, reference
from featherbit.ir import Product as ProductOp
from featherbit.kernels import available_isas
from featherbit.runtime import Session
from oracles_ir import assert_same_floats
from strategies_conv import conv_graphs, every_conv_op
from strategies_graphs import planned_graphs
from strategies_ir import batch_for

BATCHES = st.sampled_from([0, 1, 2, 9])
THREADS = st.integers(1, 3)
SEEDS = st.integers(0, 2**32 - 1)
modest = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def kernels_of(graph: Graph, wish: str) -> Mapping[str, str]:
    """Return the products of a graph that can have a kernel, with that kernel."""
    chosen = {}
    for op in graph.ops:
        if isinstance(op, ProductOp):
            try:
                Session(graph, isa="scalar", kernels={op.output: wish})
            except GraphError:
                continue
            chosen[op.output] = wish
    return chosen


def assert_same_value(name: str, got: NDArray[Any], expected: NDArray[Any]) -> None:
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), name
    if expected.dtype == np.float32:
        assert_same_floats(got, expected)
    else:
        assert np.array_equal(got, expected), name


def assert_session_is_exact(session: Session, x: NDArray[Any], expected: dict[str, NDArray[Any]]) -> None:
    assert_same_value("output", session.run(x), expected[session.graph.output])
    traced = session.trace(x)
    assert list(traced) == list(expected)
    for name, value in expected.items():
        assert_same_value(name, traced[name], value)


@given(st.one_of(planned_graphs(), conv_graphs()), BATCHES, THREADS, SEEDS)
@modest
def test_every_value_of_a_random_network_is_the_references(graph: Graph, batch: int, threads: int, seed: int) -> None:
    x = batch_for(graph, batch, seed)
    expected = reference.run(graph, x)
    for isa in available_isas():
        assert_session_is_exact(Session(graph, isa=isa, threads=threads), x, expected)


@given(planned_graphs(most_ops=4), BATCHES, THREADS, SEEDS, st.sampled_from(["planes", "bytes"]))
@modest
def test_forced_kernels_compute_the_same(graph: Graph, batch: int, threads: int, seed: int, wish: str) -> None:
    x = batch_for(graph, batch, seed)
    expected = reference.run(graph, x)
    kernels = kernels_of(graph, wish)
    for isa in available_isas():
        assert_session_is_exact(Session(graph, isa=isa, threads=threads, kernels=kernels), x, expected)


@pytest.mark.parametrize("isa", available_isas())
def test_a_network_of_every_op_takes_batches_of_any_size(isa: str) -> None:
    graph = every_conv_op()
    session = Session(graph, isa=isa)
    for batch, threads in ((1, 1), (40, 2), (0, 3), (7, 3), (200, 1), (2, 2)):
        x = batch_for(graph, batch, batch)
        expected = reference.run(graph, x)
        assert_same_value("output", session.run(x, threads=threads), expected[graph.output])


@pytest.mark.parametrize("kind", ["codes", "signs", "integers"])
def test_a_sum_of_padding_alone_is_zero(kind: str) -> None:
    ops: list[Op] = [Input((), "x", shape=(70, 2, 2), dtype="uint8"), ChannelsLast(("x",), "codes")]
    if kind != "codes":
        ops.append(SumPool2d(("codes",), "integers", kernel=(1, 1), zero_point=100))
    if kind == "signs":
        thresholds, flips = np.zeros(70, np.int32), pack_sign(np.tile([-1, 1], 35))
        ops.append(Threshold(("integers",), "signs", thresholds=thresholds, flips=flips))
    zero_point = 9 if kind == "codes" else 0
    ops.append(SumPool2d((kind,), "y", kernel=(1, 2), stride=(1, 1), padding=(1, 2, 2, 2), zero_point=zero_point))
    graph = Graph(tuple(ops), "y")
    x = batch_for(graph, 3, 8)
    for isa in available_isas():
        assert_session_is_exact(Session(graph, isa=isa), x, reference.run(graph, x))
