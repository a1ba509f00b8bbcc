"""Convolutions, pools, k bits and branches in the reference interpreter, against an oracle of one number at a time."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from featherbit.ir import MAX_SUM, Graph, load, reference, save
from oracles_conv import run_conv_oracle
from oracles_ir import assert_same_floats
from strategies_conv import conv_graphs, every_conv_op
from strategies_ir import batch_for

_DTYPES = {"int32": np.int32, "float32": np.float32, "sign": np.int8}


def assert_values_are_the_oracles(graph: Graph, batch: int, seed: int) -> None:
    x = batch_for(graph, batch, seed)
    values = reference.run(graph, x)
    for name, kind in graph.types.items():
        assert values[name].shape == (batch, *kind.shape)
        assert values[name].dtype == _DTYPES.get(kind.kind, np.uint8)
        if kind.element == "int32" and batch:
            assert np.abs(values[name].astype(np.int64)).max() <= kind.bound <= MAX_SUM
    for i in range(batch):
        for name, expected in run_conv_oracle(graph, x[i]).items():
            got = values[name][i]
            if got.dtype == np.float32:
                assert_same_floats(got, expected.astype(np.float32))
            else:
                assert got.tolist() == expected.tolist(), name


@given(conv_graphs(), st.integers(0, 2), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=120)
def test_every_value_of_any_network_is_the_oracles(graph: Graph, batch: int, seed: int) -> None:
    assert_values_are_the_oracles(graph, batch, seed)


def test_every_value_of_the_network_of_every_op_is_the_oracles() -> None:
    assert_values_are_the_oracles(every_conv_op(), 3, 0)


@given(conv_graphs())
@settings(deadline=None, max_examples=40)
def test_any_network_survives_saving_and_loading(graph: Graph) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.fbit"
        save(graph, path)
        assert load(path) == graph
        save(load(path), Path(folder) / "again.fbit")
        assert path.read_bytes() == (Path(folder) / "again.fbit").read_bytes()
