"""`run`: every value of a graph, op by op, by the rule of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .._graph import Graph
from .._op import Op
from .._ops_shapes import Input

_SomeOp = TypeVar("_SomeOp", bound=Op)
_Rule = Callable[..., NDArray[Any]]
RULES: dict[type[Op], _Rule] = {}
"""The function that computes each op but `Input`, which the caller computes."""


def rule(cls: type[_SomeOp]) -> Callable[[_Rule], _Rule]:
    """Register what computes an op: `f(op, *values) -> value`, batch first."""

    def register(function: _Rule) -> _Rule:
        RULES[cls] = function
        return function

    return register


def run(graph: Graph, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Compute every value of a graph.

    Args:
        graph: a packed network.
        x: uint8 or float32 as the graph's input declares, `[B, *shape]`, B from 0 up, no NaN.

    Returns:
        Every value by name, `[B, *shape]`: int8 -1 and +1, uint8 codes, int32 or float32.

    Raises:
        InputError: wrong dtype, wrong shape, or a NaN.
    """
    _check(graph.input, x)
    values = {graph.input.output: x}
    for op in graph.ops[1:]:
        values[op.output] = RULES[type(op)](op, *(values[name] for name in op.inputs))
    return values


def _check(op: Input, x: NDArray[Any]) -> None:
    if not isinstance(x, np.ndarray) or x.dtype != np.dtype(op.dtype):
        got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise InputError(f"the input must be a {op.dtype} array, got {got}; convert it first")
    if x.shape[1:] != op.shape or x.ndim == 0:
        raise InputError(f"the input must have shape [batch, {', '.join(map(str, op.shape))}], got {list(x.shape)}")
    if np.isnan(x).any():
        raise InputError("the input holds NaN, which has no sign and no code; remove it first")
