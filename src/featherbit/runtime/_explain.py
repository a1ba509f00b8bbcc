"""`explain`: one row per layer of a packed network, so that nobody has to guess what runs how."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import Affine, Graph, Linear, Threshold
from ..kernels import resolve_isa


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
    """

    layer: str
    op: str
    formats: str
    shape: tuple[int, ...]
    operations: int
    weight_bytes: int
    float_bytes: int
    kernel: str


def explain(graph: Graph, isa: str | None = None) -> tuple[LayerRow, ...]:
    """Return one row for each op of a graph.

    Args:
        graph: a packed network.
        isa: instruction set; None is the active one.

    Raises:
        KernelError: the ISA is unknown or not available.
    """
    isa = resolve_isa(isa)
    fused = {op.inputs[0] for op in graph.ops if isinstance(op, Threshold | Affine)}
    return tuple(_row(graph, index, isa, fused) for index in range(1, len(graph.ops)))


def _row(graph: Graph, index: int, isa: str, fused: set[str]) -> LayerRow:
    op = graph.ops[index]
    types = graph.types
    source, target = types[op.inputs[0]], types[op.output]
    middle, operations, float_bytes, kernel = "", 0, 0, ""
    if isinstance(op, Linear):
        middle, operations = " x u1", op.in_features * op.out_features
        float_bytes = 4 * operations
        kernel = f"gemm_{'u1' if source.is_sign else 'u8'}u1 [{isa}]"
    elif isinstance(op, Threshold | Affine):
        kernel = "in the product before it" if op.inputs[0] in fused else ""
        float_bytes = 4 * 4 * target.size  # the batch norm's weight, bias, mean and variance
    elif type(op).__name__ == "PackSign":
        kernel = f"pack_f32u1 [{isa}]"
    elif type(op).__name__ == "QuantizeLinear":
        kernel = "quantize_f32u8"
    return LayerRow(
        op.path or op.output,
        type(op).__name__,
        f"{source.kind}{middle} -> {target.kind}",
        target.shape,
        operations,
        sum(getattr(op, name).nbytes for name in op.array_names()),
        float_bytes,
        kernel,
    )
