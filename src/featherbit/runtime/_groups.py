"""Which ops run together in one native step: an op that computes lanes, and those that follow it element by element."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..ir import (
    Add,
    AddReal,
    Affine,
    Clamp,
    Flatten,
    Graph,
    LookUp,
    MaxPool2d,
    MulReal,
    MultiThreshold,
    Op,
    PackSign,
    PRelu,
    Product,
    QuantizeLinear,
    Threshold,
    ToReal,
)
from ._phases import Phase, in_order

FOLLOWERS = (
    Add,
    AddReal,
    Affine,
    Clamp,
    LookUp,
    MulReal,
    MultiThreshold,
    PackSign,
    PRelu,
    QuantizeLinear,
    Threshold,
    ToReal,
)
"""Ops that compute each element from the one at the same place."""


@dataclass(frozen=True)
class Group:
    """Ops of one step.

    Args:
        ops: in order; each but the first reads what the one before it computes.
        stores: the values that are written to memory, in order.
    """

    ops: tuple[Op, ...]
    stores: tuple[str, ...]


def group_ops(graph: Graph, when: Mapping[str, Phase], *, fuse: bool) -> tuple[Group, ...]:
    """Return the steps of a graph.

    Their order is one in which every step finds what it reads.

    Args:
        graph: what to run.
        when: the phase of each value; ops of one step have the same.
        fuse: whether ops run together at all.
    """
    stored = {graph.input.output, *(state.output for state in graph.states)}
    done: set[str] = set()
    readers = {name: [op for op in graph.ops if name in op.inputs] for name in graph.types}
    groups = []
    for op in in_order(graph, when):
        if op.output in done:
            continue
        group = _grow(graph, when, op, readers, stored, done) if fuse else Group((op,), (op.output,))
        done.update(each.output for each in group.ops)
        stored.update(group.stores)
        groups.append(group)
    return tuple(groups)


def _grow(
    graph: Graph,
    when: Mapping[str, Phase],
    head: Op,
    readers: dict[str, list[Op]],
    stored: set[str],
    done: set[str],
) -> Group:
    ops, stores = [head], []
    kept = {graph.output, *(state.next for state in graph.states)}
    while True:
        value = ops[-1].output
        taken = done | {op.output for op in ops}
        following = None
        if not isinstance(ops[-1], Flatten):
            candidates = [op for op in readers[value] if op.output not in taken and when[op.output] == when[value]]
            following = next(
                (op for op in candidates if _can_follow(graph, op, value, len(ops), readers[value], stored)), None
            )
        if value in kept or len(readers[value]) != 1 or following is None:
            stores.append(value)
        if following is None:
            return Group(tuple(ops), tuple(stores))
        ops.append(following)


def _can_follow(graph: Graph, op: Op, value: str, length: int, readers: list[Op], stored: set[str]) -> bool:
    if graph.types[value].is_sign or graph.types[value].is_unsigned:
        return False
    if isinstance(op, MaxPool2d):
        first = length == 1 and isinstance(graph.op_of(value), Product)
        may = tiles(graph, op) or within_rows(graph, op)
        return first and len(readers) == 1 and value != graph.output and may
    others = [name for name in op.inputs if name != value]
    twice = len(op.inputs) > 1 and len(others) != 1
    return isinstance(op, FOLLOWERS) and not twice and all(name in stored for name in others)


def separate_pools(graph: Graph) -> Graph:
    """Return the graph with overlapping pools of sums split in two.

    One is along rows, one along columns. The first runs with the product, so that fewer sums reach memory. Their values
    between have names of their own.
    """
    ops: list[Op] = []
    for op in graph.ops:
        if not isinstance(op, MaxPool2d) or not _separable(graph, op):
            ops.append(op)
            continue
        top, left, bottom, right = op.padding
        between = next(
            name for n in range(len(graph.ops)) if (name := f"rows:{n}:{op.output}"[:200]) not in graph.types
        )
        along = replace(
            op, output=between, kernel=(1, op.kernel[1]), stride=(1, op.stride[1]), padding=(0, left, 0, right)
        )
        down = replace(
            op, inputs=(between,), kernel=(op.kernel[0], 1), stride=(op.stride[0], 1), padding=(top, 0, bottom, 0)
        )
        ops += [along, down]
    return Graph(tuple(ops), graph.output)


def _separable(graph: Graph, op: MaxPool2d) -> bool:
    x = graph.types[op.inputs[0]]
    readers = [reader for reader in graph.ops if op.inputs[0] in reader.inputs]
    alone = len(readers) == 1 and op.inputs[0] != graph.output and isinstance(graph.op_of(op.inputs[0]), Product)
    overlaps = min(op.kernel) > 1 and op.dilation == (1, 1) and op.padding[1] < op.stride[1] > 1
    return alone and overlaps and x.element == "int32" and not tiles(graph, op)


def within_rows(graph: Graph, op: MaxPool2d) -> bool:
    """Return whether a pool's windows lie in rows, each past the one before."""
    along = op.kernel[0] == op.stride[0] == 1 and op.padding[0] == op.padding[2] == 0 and op.dilation == (1, 1)
    return along and op.padding[1] < op.stride[1] > 1 and graph.types[op.inputs[0]].element == "int32"


def tiles(graph: Graph, op: MaxPool2d) -> bool:
    """Return whether the windows of a pool lie side by side and cover the image."""
    x = graph.types[op.inputs[0]]
    whole = all(size % kernel == 0 for size, kernel in zip(x.shape, op.kernel, strict=False))
    return x.element == "int32" and op.stride == op.kernel and op.dilation == (1, 1) and not any(op.padding) and whole
