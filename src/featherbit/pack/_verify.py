"""Compare a packed graph with the model it came from, value by value and to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import PackError
from ..ir import Graph
from ..runtime import Session
from ._capture import capture, run
from ._lower import Lowering, lower

_CHUNK = 500


@dataclass(frozen=True)
class Agreement:
    """How one value of the packed graph compares with the model.

    Args:
        value: its name in the graph.
        path: the layer's path in the model.
        compared: numbers compared.
        mismatches: how many of them differ.
    """

    value: str
    path: str
    compared: int
    mismatches: int


def as_tensor(inputs: Tensor | NDArray[Any]) -> Tensor:
    """Return inputs as a tensor of their own memory.

    An array's strides and flags do not matter.

    Raises:
        PackError: they are neither a tensor nor an array of numbers.
    """
    if isinstance(inputs, Tensor):
        return inputs.detach().cpu()
    if not isinstance(inputs, np.ndarray):
        raise PackError("", f"inputs must be a torch tensor or a numpy array, got {type(inputs).__name__}")
    try:
        return torch.from_numpy(np.array(inputs))
    except TypeError as error:
        raise PackError("", f"inputs must be uint8 or float32: {error}") from error


def verify(
    model: nn.Module,
    graph: Graph,
    inputs: Tensor | NDArray[Any],
    *,
    isa: str | None = None,
    threads: int = 1,
    batch_size: int = _CHUNK,
) -> tuple[Agreement, ...]:
    """Run a model and its packed graph on inputs and compare every common value.

    Integers and signs must be equal; so must the float32 output, bit for bit (NaN equals NaN).

    Args:
        model: the trained model; it is not changed.
        graph: a graph packed from it.
        inputs: `[B, *shape]`, uint8 or float32.
        isa: instruction set of the packed side; None is the active one.
        threads: threads of the packed side.
        batch_size: inputs that the packed side runs at once.

    Returns:
        One row for each value, in the order of the graph.

    Raises:
        PackError: the model cannot be packed, or the graph has values that the model does not have.
    """
    tensor = as_tensor(inputs)
    lowering = lower(capture(model, tensor), tensor)[1]
    unknown = set(graph.types) - {op.output for op in lowering.ops}
    if unknown:
        raise PackError("", f"the graph was not packed from this model: it has a value {min(unknown)!r} of its own")
    return compare(lowering, graph, tensor, isa=isa, threads=threads, batch_size=batch_size)


def compare(
    lowering: Lowering,
    graph: Graph,
    inputs: Tensor,
    *,
    isa: str | None = None,
    threads: int = 1,
    batch_size: int = _CHUNK,
) -> tuple[Agreement, ...]:
    """Compare a graph with the model it was just lowered from; see `verify`."""
    session = Session(graph, isa=isa, threads=threads)
    totals = {name: [0, 0] for name in graph.types if name != graph.input.output}
    for start in range(0, len(inputs), batch_size):
        batch = inputs[start : start + batch_size]
        packed = session.trace(np.ascontiguousarray(batch.numpy()))
        for name, trained in _trained(lowering, graph, batch):
            totals[name][0] += trained.size
            totals[name][1] += _differences(packed[name], trained)
    return tuple(Agreement(name, graph.op_of(name).path, *counts) for name, counts in totals.items())


def _trained(lowering: Lowering, graph: Graph, batch: Tensor) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield each value of the graph as the model computes it: codes, sums or the float output."""
    captured = lowering.captured
    named = {name: node for node, name in captured.names.items()}
    nodes = {
        name: lowering.codes[name].node if name in lowering.codes else named.get(name, captured.output)
        for name in graph.types
        if name != graph.input.output
    }
    values = run(captured, batch, list(nodes.values()))
    for name, node in nodes.items():
        real = values[node].numpy()
        codes = lowering.codes.get(name)
        yield name, real if codes is None else real.astype(np.float64) / codes.scale + codes.zero_point


def _differences(packed: NDArray[Any], trained: NDArray[Any]) -> int:
    if packed.shape != trained.shape:
        return trained.size
    same = packed == trained
    if packed.dtype.kind == "f":
        same |= np.isnan(packed) & np.isnan(trained)
        same &= np.signbit(packed) == np.signbit(trained)
    return int(same.size - np.count_nonzero(same))
