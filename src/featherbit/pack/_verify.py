"""Compare a packed graph with the model it came from, value by value and to the bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from .. import ir
from ..errors import PackError
from ..ir import Graph
from ..runtime import Session
from ._capture import capture, evaluate, run
from ._lower import lower
from ._lowering import Lowering
from ._step import as_sequence, state_sizes
from ._values import Codes, Real

_CHUNK = 500
_Arrays = Mapping[str, NDArray[Any]]
_ELEMENTS = 2**27
"""About as many numbers of the model are held at once."""


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


def as_tensor(model: nn.Module, inputs: Tensor | NDArray[Any]) -> Tensor:
    """Return inputs of a model as a tensor of their own memory.

    It has the form that the packed network takes. An array's strides and flags do not matter.

    Raises:
        PackError: they are neither a tensor nor an array of numbers, or no sequence for a model with a memory.
    """
    tensor = _as_tensor(inputs)
    if state_sizes(model) is None:
        return tensor
    if tensor.ndim < 2 or len(tensor) == 0:
        shape = list(tensor.shape)
        raise PackError("", f"a model with a memory needs a sequence [steps, batch, ...] of at least one, got {shape}")
    return as_sequence(tensor)


def _as_tensor(inputs: Tensor | NDArray[Any]) -> Tensor:
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
    reference: bool = False,
) -> tuple[Agreement, ...]:
    """Run a model and its packed graph on inputs and compare every common value.

    Integers and signs must be equal; so must float32 values, bit for bit, but that NaN equals NaN, and the two zeros
    each other: integers have one.

    Args:
        model: the trained model; it is not changed.
        graph: a graph packed from it.
        inputs: `[B, *shape]`, uint8 or float32; `[T, B, *shape]`, or tokens `[T, B]`, of a model with a memory.
        isa: instruction set of the packed side; None is the active one.
        threads: threads of the packed side.
        batch_size: most inputs that the packed side runs at once.
        reference: the packed side is the reference interpreter, not the native runtime.

    Returns:
        One row for each value, in the order of the graph.

    Raises:
        PackError: the model cannot be packed, or the graph has values that the model does not have.
    """
    tensor = as_tensor(model, inputs)
    one = tensor[0] if state_sizes(model) is not None else tensor
    lowering = lower(capture(model, one), one)[1]
    unknown = set(graph.types) - {op.output for op in lowering.ops}
    if unknown:
        raise PackError("", f"the graph was not packed from this model: it has a value {min(unknown)!r} of its own")
    return compare(lowering, graph, tensor, isa=isa, threads=threads, batch_size=batch_size, reference=reference)


def compare(
    lowering: Lowering,
    graph: Graph,
    inputs: Tensor,
    *,
    isa: str | None = None,
    threads: int = 1,
    batch_size: int = _CHUNK,
    reference: bool = False,
) -> tuple[Agreement, ...]:
    """Compare a graph with the model it was just lowered from; see `verify`."""
    session = None if reference else Session(graph, isa=isa, threads=threads)
    totals = {name: [0, 0] for name in graph.types if name != graph.input.output}
    most = max(1, _ELEMENTS // sum(kind.size for kind in graph.types.values()))
    batch_size = min(batch_size, most)
    sequence = inputs if graph.states else inputs[None]  # [T, B, *shape]
    for start in range(0, sequence.shape[1], batch_size):
        state: _Arrays | None = None
        for batch in sequence[:, start : start + batch_size]:
            x = np.ascontiguousarray(batch.numpy())
            packed = ir.reference.run(graph, x, state) if session is None else session.trace(x, state)
            for name, trained in _trained(lowering, graph, batch, state):
                totals[name][0] += trained.size
                totals[name][1] += _differences(lowering.meaning[name], packed[name], trained)
            state = {op.output: packed[op.next] for op in graph.states}  # equal to the model's, or counted as different
    return tuple(Agreement(name, graph.op_of(name).path, *counts) for name, counts in totals.items())


def _trained(
    lowering: Lowering, graph: Graph, batch: Tensor, state: _Arrays | None
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield each value of the graph as the model computes it: the real numbers, in the graph's order."""
    meanings = {name: lowering.meaning[name] for name in graph.types if name != graph.input.output}
    wanted = [_start(meaning) for meaning in meanings.values()]
    before = ir.reference.zero_states(graph, len(batch)) if state is None else state
    given = [torch.from_numpy(before[lowering.captured.names[node]]) for node, _ in lowering.captured.states]
    values = run(lowering.captured, batch, wanted, given)
    for name, meaning in meanings.items():
        value = values[_start(meaning)]
        if isinstance(meaning, Codes) and meaning.start is not None:
            known = {**lowering.constants(), meaning.start: value}
            value = evaluate(lowering.captured, known, [meaning.node], meaning.skip)[meaning.node]
        flat = value.reshape(len(value), -1).numpy().astype(np.float32)  # [B, size]
        ordered = flat if meaning.order is None else flat[:, meaning.order]
        if isinstance(meaning, Real):
            ordered = np.minimum(ordered, np.float32(meaning.highest))
        yield (
            name,
            ordered.reshape(len(flat), *graph.types[name].shape)
            if ordered[:1].size == graph.types[name].size
            else ordered,
        )


def _start(meaning: Codes | Real) -> fx.Node:
    start = meaning.start if isinstance(meaning, Codes) else None
    return meaning.node if start is None else start


def _differences(meaning: Codes | Real, packed: NDArray[Any], trained: NDArray[np.float32]) -> int:
    reals = meaning.reals(packed) if isinstance(meaning, Codes) else packed
    if reals.shape != trained.shape:
        return trained.size
    same = (reals == trained) | (np.isnan(reals) & np.isnan(trained))
    return int(same.size - np.count_nonzero(same))
