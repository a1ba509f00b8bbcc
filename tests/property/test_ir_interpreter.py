"""The reference interpreter against an oracle that computes one number at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from featherbit.ir import Graph, reference
from oracles_ir import assert_same_floats, run_oracle
from strategies_ir import batch_for, graphs

_DTYPES = {"int32": np.int32, "float32": np.float32, "sign": np.int8}


@given(graphs(), st.integers(0, 2), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_every_value_is_the_oracles(graph: Graph, batch: int, seed: int) -> None:
    x = batch_for(graph, batch, seed)
    values = reference.run(graph, x)
    assert list(values) == [op.output for op in graph.ops]
    for name, kind in graph.types.items():
        assert values[name].shape == (batch, *kind.shape)
        assert values[name].dtype == _DTYPES.get(kind.kind, np.uint8)
    for i in range(batch):
        for name, expected in run_oracle(graph, x[i]).items():
            got = values[name][i].ravel()
            if got.dtype == np.float32:
                assert_same_floats(got, np.array(expected, dtype=np.float32))
            else:
                assert got.tolist() == expected
