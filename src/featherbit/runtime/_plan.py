"""Turn a graph into the steps of a native plan.

A `Linear` and the `Threshold` or `Affine` that reads it become one step, so that int32 sums never reach memory; if
several ops read it, each gets a step of its own. `Flatten` costs nothing: rows are contiguous. Buffers are handed out
in order and reused as soon as their last reader has run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..bits import words_per_row
from ..errors import GraphError
from ..ir import Affine, Flatten, Graph, Input, Linear, Op, PackSign, QuantizeLinear, Threshold, ValueType
from ..kernels import _native

FROM_INPUT = -1
TO_OUTPUT = -1


@dataclass(frozen=True)
class Step:
    """One native step: the ops it runs, the value it reads and the one it writes."""

    ops: tuple[Op, ...]
    reads: str
    writes: str


@dataclass
class NativePlan:
    """A native plan and what is needed to call it.

    Args:
        plan: the native object.
        steps: its steps, in order.
        aliases: each value that is another one seen differently (after `Flatten`), with the value it stands for.
    """

    plan: _native.Plan
    steps: tuple[Step, ...]
    aliases: dict[str, str]


def row_bytes(value: ValueType) -> int:
    """Return the bytes of one row of a value as the native plan stores it.

    Signs are packed, codes take a byte.
    """
    if value.is_sign:
        return words_per_row(value.size) * 8
    return value.size if value.is_unsigned else value.size * 4


def make_plan(graph: Graph, isa: str) -> NativePlan:
    """Plan a graph for one ISA.

    Raises:
        GraphError: the graph computes nothing, or holds an op that has no native step.
    """
    aliases = _aliases(graph)
    steps = _steps(graph, aliases)
    output = _resolve(aliases, graph.output)
    if output == graph.input.output:
        raise GraphError("the graph's output is its input: there is nothing to run")
    buffers = _Buffers(steps, output)
    specs = []
    for index, step in enumerate(steps):
        source = FROM_INPUT if step.reads == graph.input.output else buffers.place[step.reads]
        specs.append(_SPECS[type(step.ops[0])](step.ops, source, buffers.target(index, graph.types), graph.types))
        buffers.release(index)
    native = _native.Plan(
        isa, specs, buffers.row_bytes, row_bytes(graph.types[graph.input.output]), row_bytes(graph.types[output])
    )
    return NativePlan(native, steps, aliases)


def _aliases(graph: Graph) -> dict[str, str]:
    aliases: dict[str, str] = {}
    for op in graph.ops:
        if isinstance(op, Flatten):
            aliases[op.output] = _resolve(aliases, op.inputs[0])
    return aliases


def _resolve(aliases: dict[str, str], name: str) -> str:
    return aliases.get(name, name)


def _steps(graph: Graph, aliases: dict[str, str]) -> tuple[Step, ...]:
    linears = {op.output: op for op in graph.ops if isinstance(op, Linear)}
    output = _resolve(aliases, graph.output)
    steps = []
    for op in graph.ops:
        if isinstance(op, Input | Flatten):
            continue
        source = _resolve(aliases, op.inputs[0])
        if isinstance(op, Linear):
            if op.output == output:
                steps.append(Step((op,), source, op.output))
        elif source in linears:
            linear = linears[source]
            steps.append(Step((linear, op), _resolve(aliases, linear.inputs[0]), op.output))
        elif type(op) in _SPECS:
            steps.append(Step((op,), source, op.output))
        else:
            raise GraphError(f"{op.label}: there is no native step for it here")
    return tuple(steps)


@dataclass
class _Buffers:
    """Which buffer of the arena holds each value, by the last step that reads it."""

    steps: tuple[Step, ...]
    output: str
    row_bytes: list[int] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)

    def target(self, index: int, types: Any) -> int:
        value = self.steps[index].writes
        if value == self.output:  # never read again: every value of a graph is used, and each op reads one
            return TO_OUTPUT
        size = row_bytes(types[value])
        if not self._free:
            self.row_bytes.append(0)
            self._free.append(len(self.row_bytes) - 1)
        buffer = self._free.pop()
        self.row_bytes[buffer] = max(self.row_bytes[buffer], size)
        self.place[value] = buffer
        return buffer

    def release(self, index: int) -> None:
        value = self.steps[index].reads
        if value in self.place and all(step.reads != value for step in self.steps[index + 1 :]):
            self._free.append(self.place[value])


def _product(ops: tuple[Op, ...], source: int, target: int, types: Any) -> _native.StepSpec:
    linear = ops[0]
    assert isinstance(linear, Linear)
    bytes_in = not types[linear.inputs[0]].is_sign
    spec = _native.product_step(
        source,
        target,
        np.ascontiguousarray(linear.weight),
        k=linear.in_features,
        bytes_in=bytes_in,
        zero_point=linear.zero_point,
    )
    for op in ops[1:]:
        if isinstance(op, Threshold):
            spec.then_threshold(op.thresholds, op.flips)
        elif isinstance(op, Affine):
            spec.then_affine(op.multiplier, op.addend, op.fused)
        else:
            raise GraphError(f"{op.label}: there is no native step for it after a Linear")
    return spec


def _pack_sign(ops: tuple[Op, ...], source: int, target: int, types: Any) -> _native.StepSpec:
    return _native.pack_sign_step(source, target, types[ops[0].output].size)


def _quantize(ops: tuple[Op, ...], source: int, target: int, types: Any) -> _native.StepSpec:
    op = ops[0]
    if not isinstance(op, QuantizeLinear) or op.bits != 8:
        raise GraphError(f"{op.label}: only 8 bits have a native step")
    return _native.quantize_step(source, target, types[op.output].size)


_SPECS: dict[type[Op], Callable[[tuple[Op, ...], int, int, Any], _native.StepSpec]] = {
    Linear: _product,
    PackSign: _pack_sign,
    QuantizeLinear: _quantize,
}
