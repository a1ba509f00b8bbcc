"""Write one native step: what it computes, what follows element by element, and what it stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import BitFormat, unpack_sign
from ..ir import (
    Add,
    AddReal,
    Affine,
    ChannelsLast,
    Clamp,
    Concat,
    Conv2d,
    Embedding,
    Flatten,
    Graph,
    Linear,
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
    SumPool2d,
    Threshold,
    ToReal,
    ValueType,
)
from ..kernels import _native
from ._geometry import gather_tables, padding_classes, pool_windows
from ._lines import find_lines
from ._products import ProductPlan
from ._storage import Form, Storage, image_shape

Place = tuple[str, Form]
COPY = "!"
"""Follows the name of the value that a place holds a copy of; no value's own name has it."""
_KERNELS = {
    "planes": (_native.Form.bits, 64, 8),
    "bytes": (_native.Form.bytes, 4, 4),
    "depthwise": (_native.Form.lanes, 1, 1),
}
"""Of each gathered product: the native kernel, and the channels and bytes of what it reads at once."""
_FEW_THRESHOLDS = 3  # so many are counted faster than a line is followed


class _Emitter:
    """One native step being written.

    Args:
        graph: what is planned.
        isa: instruction set.
        ops: of the step; none where it copies.
        reads: a storage for each value read from memory.
        writes: a storage for each value stored, by name.
        products: what computes each product.
    """

    def __init__(
        self,
        graph: Graph,
        isa: str,
        ops: tuple[Op, ...],
        reads: list[Storage],
        writes: dict[str, Storage],
        products: Mapping[str, ProductPlan],
    ) -> None:
        self.graph = graph
        self.ops = ops
        self.reads = reads
        self.writes = writes
        self.products = products
        target = next(iter(writes.values()))
        shape = image_shape(graph.types[ops[0].output]) if ops else (target.height, target.width, target.channels)
        self.height, self.width, self.channels = shape
        self.step = _native.Step(isa, self.height * self.width, self.channels)

    def value(self, op: Op, index: int = 0) -> ValueType:
        """Return the type of what an op reads."""
        return self.graph.types[op.inputs[index]]

    def store(self, name: str) -> None:
        """Write the lanes as they are now."""
        storage = self.writes[name]
        self.step.store(storage.native(), storage.pixels(), storage.pixel_bytes)
        if any(storage.border):
            self.step.border(storage.memory, storage.border_value, *storage.border_runs())


def emit(
    graph: Graph,
    isa: str,
    ops: tuple[Op, ...],
    reads: tuple[Place, ...],
    writes: tuple[Place, ...],
    storage: Mapping[Place, Storage],
    products: Mapping[str, ProductPlan],
) -> _native.Step:
    """Return the native step of some ops; with no ops, one that copies its only read.

    Args:
        graph: what is planned.
        isa: instruction set.
        ops: in order; each but the first reads the one before.
        reads: where the values read from memory lie, in the order of the ops' inputs.
        writes: where stored values go.
        storage: of each place.
        products: what computes each product.
    """
    sources = [storage[place] for place in reads]
    targets = {place[0]: storage[place] for place in writes}
    ops = _joined(ops, targets)
    emitter = _Emitter(graph, isa, ops, sources, targets, products)
    if not ops:
        value = graph.types[writes[0][0].partition(COPY)[0]]
        emitter.step.load(sources[0].native(), sources[0].seen_as(value).pixels())
        emitter.store(writes[0][0])
        return emitter.step
    waiting = sources[1:] if _starts_with_follower(ops[0]) else sources[:0]
    if _starts_with_follower(ops[0]):
        emitter.step.load(sources[0].native(), sources[0].seen_as(graph.types[ops[0].inputs[0]]).pixels())
        _FOLLOW[type(ops[0])](emitter, ops[0], waiting)
    else:
        _PRODUCE[type(ops[0])](emitter, ops[0])
        waiting = sources[len(ops[0].inputs) :]
    if ops[0].output in targets:
        emitter.store(ops[0].output)
    for op in ops[1:]:
        _FOLLOW[type(op)](emitter, op, waiting)
        if op.output in targets:
            emitter.store(op.output)
    return emitter.step


def _joined(ops: tuple[Op, ...], stored: Mapping[str, Storage]) -> tuple[Op, ...]:
    """Let a scaling and the shift after it be one op with two roundings: that is the same, and reads half as much."""
    joined: list[Op] = []
    for op in ops:
        before = joined[-1] if joined else None
        if isinstance(op, Affine) and isinstance(before, Affine) and before.output not in stored:
            # Adding -0.0 changes nothing, so it is rounded once, fused or not.
            only_scales = bool((before.addend == 0).all() and np.signbit(before.addend).all())
            if only_scales and not op.fused and bool((op.multiplier == 1).all()):
                joined[-1] = replace(op, inputs=before.inputs, multiplier=before.multiplier)
                continue
        joined.append(op)
    return tuple(joined)


def _starts_with_follower(op: Op) -> bool:
    return type(op) in _FOLLOW and type(op) not in _PRODUCE


def _product(emitter: _Emitter, op: Op) -> None:
    assert isinstance(op, Product)
    plan, source = emitter.products[op.output], emitter.reads[0].seen_as(emitter.value(op))
    encoding = getattr(_native.Encoding, plan.encoding)
    weight = np.ascontiguousarray(plan.weight)
    if plan.kernel == "dense":
        in_bytes = plan.form == "bytes"
        emitter.step.dense(source.memory, weight, plan.channels, in_bytes, op.zero_point)
        return
    rows, runs, run_taps = gather_tables(plan.window, source, (emitter.height, emitter.width))
    if plan.groups > 1 and run_taps > 1:  # the channels of a group are a part of a pixel: no run is longer than a tap
        runs = (runs[:, None] + np.arange(run_taps) * source.pixel_bytes).reshape(-1)  # [runs, taps] -> [taps]
        run_taps = 1
    form, channels_a_unit, unit_bytes = _KERNELS[plan.kernel]
    signs_in_bytes = source.sign and source.form == "bytes"
    activations = _native.activations(
        source.memory,
        rows,
        runs,
        run_taps * -(-plan.channels // channels_a_unit),
        source.sign and source.form == "bits",
        source.planes,
        source.plane_bytes,
        1 if signs_in_bytes else op.zero_point,
        2 if signs_in_bytes else _largest(emitter.value(op)),
        plan.channels * unit_bytes // channels_a_unit,
        source.border_value,
    )
    padding = _padding(emitter, op, plan, source, run_taps)
    emitter.step.gather(
        form, activations, padding, weight, plan.taps, plan.channels, plan.weight_bits, encoding, plan.groups
    )


def _largest(value: ValueType) -> int:
    return 2**value.element.bits - 1 if isinstance(value.element, BitFormat) else 1


def _padding(emitter: _Emitter, op: Product, plan: ProductPlan, source: Storage, run_taps: int) -> _native.Padding:
    """Return what is padding, and what it contributes beyond what the stored border does."""
    if source.form == "bytes":
        stored = source.border_value - (1 if source.sign else op.zero_point)
    else:
        stored = -1 if source.sign else -op.zero_point  # a border of zero bits
    missing, classes = padding_classes(plan.window, source.height, source.width, (emitter.height, emitter.width))
    return _native.padding(missing, classes, run_taps, plan.pad_value - stored)


def _pool(emitter: _Emitter, op: Op) -> None:
    assert isinstance(op, MaxPool2d | SumPool2d)
    source = emitter.reads[0]
    windows = np.ascontiguousarray(pool_windows(op.window, source, (emitter.height, emitter.width)))
    kinds = _native.PoolKind
    if isinstance(op, SumPool2d):
        kind = kinds.sum
    else:
        kind = kinds.max_real if emitter.value(op).element == "float32" else kinds.max_integer
    zero_point = op.zero_point if isinstance(op, SumPool2d) else 0
    emitter.step.pool(source.native(), kind, windows.reshape(-1), windows.shape[1], zero_point)


def _rearrange(emitter: _Emitter, op: Op) -> None:
    source = emitter.reads[0]
    locations = source.locations()
    if isinstance(op, Rearrange):
        locations = locations[op.order]
    emitter.step.rearrange(source.native(), np.ascontiguousarray(locations))


def _channels_last(emitter: _Emitter, op: Op) -> None:
    source, value = emitter.reads[0], emitter.value(op)
    planes = source.locations().reshape(value.shape[0], -1)  # [C, places]
    if source.form in ("bytes", "lanes") and not source.sign and source.is_dense:
        step = int(planes[1, 0] - planes[0, 0]) if len(planes) > 1 else 0
        emitter.step.planar(source.native(), np.ascontiguousarray(planes[0]), step)
    else:
        emitter.step.rearrange(source.native(), np.ascontiguousarray(planes.T).reshape(-1))


def _concat(emitter: _Emitter, op: Op) -> None:
    seen = [source.seen_as(emitter.value(op, index)) for index, source in enumerate(emitter.reads[: len(op.inputs)])]
    emitter.step.concat([s.native() for s in seen], [s.pixels() for s in seen], [s.channels for s in seen])


def _embedding(emitter: _Emitter, op: Op) -> None:
    assert isinstance(op, Embedding)
    emitter.step.embedding(emitter.reads[0].memory, np.ascontiguousarray(op.unpacked()), op.sign)


def _flips(flips: NDArray[np.uint64], channels: int) -> NDArray[np.bool_]:
    return np.asarray(unpack_sign(flips, channels) > 0)


def _threshold(emitter: _Emitter, op: Any, _: list[Storage]) -> None:
    emitter.step.threshold(np.ascontiguousarray(op.thresholds), np.ascontiguousarray(op.flips))


def _multi_threshold(emitter: _Emitter, op: Any, _: list[Storage]) -> None:
    thresholds, flips = np.ascontiguousarray(op.thresholds), np.ascontiguousarray(op.flips)
    lines = None
    if thresholds.shape[1] > _FEW_THRESHOLDS:
        lines = find_lines(thresholds, _flips(flips, len(thresholds)), max(1, emitter.value(op).bound))
    if lines is None:
        emitter.step.count(thresholds, flips)
    else:
        emitter.step.count_by_line(thresholds, flips, *lines)


def _affine(emitter: _Emitter, op: Any, _: list[Storage]) -> None:
    integers = emitter.value(op).element == "int32"
    emitter.step.affine(np.ascontiguousarray(op.multiplier), np.ascontiguousarray(op.addend), op.fused, integers)


def _to_real(emitter: _Emitter, op: Any, _: list[Storage]) -> None:
    # scale * x and scale * zero_point are exact, and so is their difference.
    multiplier = np.full(emitter.channels, op.scale, dtype=np.float32)
    addend = np.full(emitter.channels, -op.scale * op.zero_point, dtype=np.float32)
    emitter.step.affine(multiplier, addend, False, True)


def _other(emitter: _Emitter, op: Op, waiting: list[Storage]) -> tuple[int, NDArray[np.int64]]:
    other = waiting.pop(0)
    return other.memory, other.seen_as(emitter.graph.types[op.output]).pixels()


def _add(emitter: _Emitter, op: Any, waiting: list[Storage]) -> None:
    first = op is emitter.ops[0] or op.inputs[0] == emitter.ops[emitter.ops.index(op) - 1].output
    mine, other = (op.a_multiplier, op.b_multiplier) if first else (op.b_multiplier, op.a_multiplier)
    shift = -op.a_multiplier * op.a_zero_point - op.b_multiplier * op.b_zero_point
    emitter.step.add(*_other(emitter, op, waiting), mine, other, shift)


def _add_real(emitter: _Emitter, op: Op, waiting: list[Storage]) -> None:
    emitter.step.add_real(*_other(emitter, op, waiting))


def _mul_real(emitter: _Emitter, op: Op, waiting: list[Storage]) -> None:
    emitter.step.mul_real(*_other(emitter, op, waiting))


def _max_rows(emitter: _Emitter, op: Any, _: list[Storage]) -> None:
    across = emitter.graph.types[op.output].shape[1]
    emitter.step.max_rows(op.kernel[0], op.kernel[1], emitter.width, op.stride[1], op.padding[1], across)


_PRODUCE: dict[type[Op], Callable[[_Emitter, Op], None]] = {
    ChannelsLast: _channels_last,
    Concat: _concat,
    Conv2d: _product,
    Embedding: _embedding,
    Flatten: _rearrange,
    Linear: _product,
    MaxPool2d: _pool,
    Rearrange: _rearrange,
    SumPool2d: _pool,
}
_FOLLOW: dict[type[Op], Callable[[_Emitter, Any, list[Storage]], None]] = {
    Add: _add,
    AddReal: _add_real,
    Affine: _affine,
    Clamp: lambda emitter, op, _: emitter.step.clamp(op.low, op.high),
    LookUp: lambda emitter, op, _: emitter.step.look_up(np.ascontiguousarray(op.table), op.step),
    MaxPool2d: _max_rows,
    MulReal: _mul_real,
    MultiThreshold: _multi_threshold,
    PackSign: lambda emitter, op, _: emitter.step.sign_real(),
    PRelu: lambda emitter, op, _: emitter.step.prelu(np.ascontiguousarray(op.slope)),
    QuantizeLinear: lambda emitter, op, _: emitter.step.quantize(op.step, op.low, op.low + 2**op.bits - 1),
    Threshold: _threshold,
    ToReal: _to_real,
}
