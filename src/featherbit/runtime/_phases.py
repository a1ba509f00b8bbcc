"""When each op of a network with a memory runs: before, in or after the steps of a sequence.

Only what the next step takes over must run step by step. What depends on the input alone is computed before, for all
steps of a sequence at once; what no state needs is computed after them, likewise. A network without a memory has
nothing but what is computed before.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from ..ir import Graph, Op


class Phase(IntEnum):
    """When an op runs."""

    BEFORE = 0
    STEP = 1
    AFTER = 2


def phases(graph: Graph) -> dict[str, Phase]:
    """Return when each value is computed, by name.

    The input and states are there from the start.
    """
    needed = {state.next for state in graph.states}
    for op in reversed(graph.ops):
        if op.output in needed:
            needed.update(op.inputs)
    remembering = {state.output for state in graph.states}
    found: dict[str, Phase] = {}
    for op in graph.ops:
        if remembering.intersection(op.inputs):
            remembering.add(op.output)
        steps = Phase.STEP if op.output in needed else Phase.AFTER
        found[op.output] = steps if op.output in remembering else Phase.BEFORE
    return found | {state.output: Phase.BEFORE for state in graph.states}


def in_order(graph: Graph, when: Mapping[str, Phase]) -> tuple[Op, ...]:
    """Return the ops that compute something, phase by phase."""
    given = {graph.input.output, *(state.output for state in graph.states)}
    return tuple(sorted((op for op in graph.ops if op.output not in given), key=lambda op: when[op.output]))
