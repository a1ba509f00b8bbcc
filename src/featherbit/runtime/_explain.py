"""`explain`: one row per layer of a packed network, so that nobody has to guess what runs how, and why.

Formats, shapes and counts come from the graph; the kernel, the form in memory and the reason from the native plan, in
`_kernel` alone. Why a value is real and not integer is told by the graph: `_float_reason`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..ir import (
    AddReal,
    Affine,
    ChannelsLast,
    Clamp,
    Concat,
    Embedding,
    Flatten,
    Graph,
    Input,
    LookUp,
    MaxPool2d,
    MulReal,
    MultiThreshold,
    Op,
    PackSign,
    PRelu,
    Product,
    QuantizeLinear,
    Rearrange,
    State,
    SumPool2d,
    Threshold,
)
from ..kernels import resolve_isa
from ._emit import COPY
from ._plan import NativePlan, Step, make_plan

_KERNELS = {
    ("dense", "bits"): "gemm_u1u1",
    ("dense", "bytes"): "gemm_u8u1",
    ("planes", "bits"): "conv_u1",
    ("planes", "planes"): "conv_u1",
    ("bytes", "bytes"): "conv_u8",
    ("depthwise", "bytes"): "depthwise_u8",
}
"""The kernel, by the product's plan and the form of its input; `conv_u8` has weights of bytes or half bytes."""
_OTHERS: Mapping[type[Op], str] = {
    PackSign: "pack_f32u1",
    QuantizeLinear: "quantize_f32u8",
    MaxPool2d: "pool",
    SumPool2d: "pool",
    ChannelsLast: "rearrange",
    Rearrange: "rearrange",
    Flatten: "rearrange",
    Concat: "concat",
    Embedding: "embedding",
}
"""Ops that begin a step and are no product; any other is an element-wise `tile`."""
_BATCH_NORM = 4  # weight, bias, mean and variance


@dataclass(frozen=True)
class LayerRow:
    """What one op of a packed network is and how it runs.

    Args:
        layer: path in the trained model, or the op's value where it has none.
        op: the operation.
        formats: formats in and out, weights between, as `u1 x u1 -> i32`.
        shape: shape out, without the batch.
        operations: multiply-accumulates for one input.
        weight_bytes: bytes of its arrays in the file.
        float_bytes: bytes of the same parameters as float32.
        kernel: the native kernel, with its ISA; empty where it costs nothing.
        storage: form in which the result is written to memory, empty where it is not.
        reason: why this kernel, or why the value is real.
    """

    layer: str
    op: str
    formats: str
    shape: tuple[int, ...]
    operations: int
    weight_bytes: int
    float_bytes: int
    kernel: str
    storage: str = ""
    reason: str = ""


def explain(graph: Graph, isa: str | None = None, *, plan: NativePlan | None = None) -> tuple[LayerRow, ...]:
    """Return one row for each op of a graph.

    Args:
        graph: a packed network.
        isa: instruction set; None is the active one.
        plan: how the graph runs; None plans it anew.

    Raises:
        KernelError: the ISA is unknown or not available.
        GraphError: the graph computes nothing.
    """
    isa = resolve_isa(isa)
    plan = plan or make_plan(graph, isa)
    return tuple(_row(graph, op, isa, plan) for op in graph.ops if not isinstance(op, Input | State))


def _row(graph: Graph, op: Op, isa: str, plan: NativePlan) -> LayerRow:
    sources = [graph.types[name].kind for name in op.inputs]
    target = graph.types[op.output]
    weights = f" x {_weight_format(op)}" if isinstance(op, Product) else ""
    kernel, storage, reason = _kernel(op, isa, plan)
    return LayerRow(
        op.path or op.output,
        type(op).__name__,
        f"{' + '.join(dict.fromkeys(sources))}{weights} -> {target.kind}",
        target.shape,
        _operations(graph, op),
        sum(array.nbytes for array in op.arrays().values()),
        4 * _parameters(op, graph),
        kernel,
        storage,
        "; ".join(filter(None, (reason, _float_reason(graph, op)))),
    )


def _weight_format(op: Product) -> str:
    return f"{'u' if op.weight_encoding == 'sign' and op.weight_bits == 1 else 's'}{op.weight_bits}"


def _operations(graph: Graph, op: Op) -> int:
    """Return the multiply-accumulates of a product, padded taps included; 0 for other ops."""
    return graph.types[op.output].size * op.row_length if isinstance(op, Product) else 0


def _parameters(op: Op, graph: Graph) -> int:
    """Return how many float32 parameters the trained layer has for this op."""
    channels = graph.types[op.output].channels
    if isinstance(op, Product):
        return op.out_features * op.row_length
    if isinstance(op, Embedding):
        return op.tokens * op.features
    if isinstance(op, Threshold | MultiThreshold | Affine):
        return _BATCH_NORM * channels
    return channels if isinstance(op, PRelu) else 0


def _kernel(op: Op, isa: str, plan: NativePlan) -> tuple[str, str, str]:
    """Return what runs an op, the form its result is written in, and why: all that the native plan decides."""
    if op.output in plan.aliases:
        return "", "", "the same memory, seen differently"
    step = next(step for step in plan.steps if any(each.output == op.output for each in step.ops))
    storage = next((form for value, form in step.writes if value == op.output), "")
    if op.output != step.ops[0].output:
        return f"with {step.ops[0].path or step.ops[0].output}", storage, ""
    if isinstance(op, Product):
        product = plan.products[op.output]
        return f"{_KERNELS[product.kernel, product.form]} [{isa}]", storage, product.reason
    return f"{_OTHERS.get(type(op), 'tile')} [{isa}]", storage, _copy_reason(op, step, plan)


def _copy_reason(op: Op, step: Step, plan: NativePlan) -> str:
    copied = any(COPY in value for value, _ in step.reads)
    return "its input is copied to another form first" if copied else ""


def _float_reason(graph: Graph, op: Op) -> str:
    """Return why an op computes real numbers, empty where it does not or where nothing else can be had."""
    rule = _FLOAT_REASONS.get(type(op))
    return f"float32: {rule(graph, op)}" if rule is not None else ""


def _why_affine(graph: Graph, op: Op) -> str:
    assert isinstance(op, Affine)
    if op.output == graph.output:
        return "the scores"
    return _scale(op) if graph.types[op.inputs[0]].element == "int32" else "reads real values"


def _why_add(graph: Graph, op: Op) -> str:
    assert isinstance(op, AddReal)
    if op.reason:  # the packer knew more than the graph tells
        return op.reason
    for name in op.inputs:
        source = graph.op_of(name)
        if isinstance(source, Affine) and graph.types[source.inputs[0]].element == "int32":
            return f"{source.path or source.output}: {_scale(source)}"
    return "both operands are real"


def _scale(op: Affine) -> str:
    """Return why a batch norm of integers gives no integers of one scale."""
    first = float(op.multiplier[0])
    if np.any(op.multiplier != op.multiplier[0]):
        return "a scale per channel"
    return "the addend is real" if math.frexp(first)[0] == 0.5 else f"the scale {first:g} is no power of two"


_FLOAT_REASONS: Mapping[type[Op], Callable[[Graph, Op], str]] = {
    Affine: _why_affine,
    AddReal: _why_add,
    PRelu: lambda graph, op: "the slope is real",
    Clamp: lambda graph, op: "bounds real values",
    LookUp: lambda graph, op: "the function of a real value",
    MulReal: lambda graph, op: "both operands are real",
}
