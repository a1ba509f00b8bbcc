"""`run`: every value of a graph, op by op, by the rule of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .._graph import Graph
from .._op import Op
from .._ops_recurrent import State
from .._ops_shapes import Input

_SomeOp = TypeVar("_SomeOp", bound=Op)
_Rule = Callable[..., NDArray[Any]]
RULES: dict[type[Op], _Rule] = {}
"""The function that computes each op but `Input` and `State`, which the caller gives."""


def rule(cls: type[_SomeOp]) -> Callable[[_Rule], _Rule]:
    """Register what computes an op: `f(op, *values) -> value`, batch first."""

    def register(function: _Rule) -> _Rule:
        RULES[cls] = function
        return function

    return register


def run(
    graph: Graph, x: NDArray[Any], state: Mapping[str, NDArray[np.float32]] | None = None
) -> dict[str, NDArray[Any]]:
    """Compute every value of a graph; of a network with a memory, in one step.

    Args:
        graph: a packed network.
        x: uint8, float32 or int32 as the graph's input declares, `[B, *shape]`, B from 0 up, no NaN.
        state: float32 `[B, *shape]` for each `State`; `None` is all zeros.

    Returns:
        Every value by name, `[B, *shape]`: int8 -1 and +1, uint8 codes, int32 or float32. That of a state is the one
        given; `State.next` names the one for the next step.

    Raises:
        InputError: wrong dtype, wrong shape, a NaN, or a token that is none.
    """
    _check(graph, x)
    values = {graph.input.output: x, **(zero_states(graph, len(x)) if state is None else state)}
    for op in graph.ops:
        if isinstance(op, Input | State):
            continue
        values[op.output] = RULES[type(op)](op, *(values[name] for name in op.inputs))
    return values


def zero_states(graph: Graph, batch: int) -> dict[str, NDArray[np.float32]]:
    """Return what a first step starts from: float32 zeros for each `State` by name."""
    return {op.output: np.zeros((batch, *op.shape), dtype=np.float32) for op in graph.states}


def _check(graph: Graph, x: NDArray[Any]) -> None:
    op = graph.input
    if not isinstance(x, np.ndarray) or x.dtype != np.dtype(op.dtype):
        got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise InputError(f"the input must be a {op.dtype} array, got {got}; convert it first")
    if x.shape[1:] != op.shape or x.ndim == 0:
        raise InputError(f"the input must have shape [batch, {', '.join(map(str, op.shape))}], got {list(x.shape)}")
    if np.isnan(x).any():
        raise InputError("the input holds NaN, which has no sign and no code; remove it first")
    tokens = graph.tokens
    if tokens is not None and x.size and not 0 <= x.min() <= x.max() < tokens:
        raise InputError(f"tokens are 0 to {tokens - 1}, got {x.min()} to {x.max()}")
