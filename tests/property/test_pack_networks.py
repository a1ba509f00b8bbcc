"""Random torch networks and what they are packed into give the same numbers, every value of them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import HealthCheck, event, given, settings
from torch import Tensor, nn

from featherbit.errors import PackError
from featherbit.ir import Graph, reference
from featherbit.pack import pack, verify
from strategies_torch import networks

REFUSALS = (
    "cannot be a threshold",
    "depends on the order of summation",
    "differs from place to place",
    "is rounded",
    "call contiguous",
)


def packed(model: nn.Module, x: Tensor) -> Graph | None:
    try:
        return pack(model, x, verify="reference")
    except PackError as error:
        assert any(reason in error.reason for reason in REFUSALS), error  # noqa: PT017 (equal or refused)
        event(f"refused: {error.reason[:60]}")
        return None


@given(networks())
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_every_value_is_the_models(network: tuple[nn.Module, Tensor]) -> None:
    model, x = network
    graph = packed(model, x)
    if graph is None:
        return
    event("packed")
    rows = verify(model, graph, x, reference=True)
    assert [row.value for row in rows] == [op.output for op in graph.ops[1:]]
    assert all(row.mismatches == 0 for row in rows)
    with torch.no_grad():
        expected = model(x).numpy()
    got = reference.run(graph, x.numpy())[graph.output]
    assert np.array_equal(got, expected, equal_nan=True)
    assert not np.isnan(expected).any()
