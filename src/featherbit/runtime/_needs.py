"""What each op asks of the memory of the values it reads, and the storage that suits all readers of a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..ir import Add, AddReal, Flatten, Graph, MulReal, Op, Product
from ._groups import Group
from ._products import ProductPlan
from ._storage import NO_BORDER, Form, Sides, Storage, form_of, make_storage

_WORD_BITS, _QUAD = 64, 4


@dataclass(frozen=True)
class Need:
    """How a step reads a value.

    Args:
        value: its name.
        form: the only form that will do; None is any.
        border: padding that must be stored around it, at least; None where pixels are found one by one.
        border_value: what each byte of the border should hold.
        by_quads: bytes are read four at a time, so a pixel takes whole quads.
    """

    value: str
    form: Form | None = None
    border: Sides | None = None
    border_value: int = 0
    by_quads: bool = False

    def met_by(self, storage: Storage) -> bool:
        """Return whether the step can read this storage."""
        if self.form not in (None, storage.form) or (self.by_quads and storage.pixel_bytes % _QUAD != 0):
            return False
        return all(have >= need for have, need in zip(storage.border, self.border or NO_BORDER, strict=True))


def group_needs(group: Group, products: Mapping[str, ProductPlan]) -> tuple[Need, ...]:
    """Return what a step reads from memory."""
    head = group.ops[0]
    needs = list(_head_needs(head, products))
    for before, op in zip(group.ops, group.ops[1:], strict=False):
        needs += [Need(name, "lanes") for name in op.inputs if name != before.output]
    return tuple(needs)


def _head_needs(op: Op, products: Mapping[str, ProductPlan]) -> list[Need]:
    if isinstance(op, Product):
        plan = products[op.output]
        byte = 0
        if plan.form == "bytes":  # the code that padding stands for; a sign is a byte of 0 or 2
            byte = max(0, op.zero_point + plan.pad_value)
        quads = plan.form == "bytes" and plan.kernel == "bytes"
        return [Need(op.inputs[0], plan.form, plan.window.padding, byte, quads)]
    if isinstance(op, Add | AddReal | MulReal):
        return [Need(op.inputs[0]), Need(op.inputs[1], "lanes")]
    return [Need(name) for name in op.inputs]


def choose_storage(graph: Graph, name: str, needs: Mapping[str, list[Need]]) -> Storage:
    """Return the storage of a value that suits most of its readers.

    Its memory is still to be assigned.
    """
    value = graph.types[name]
    wanted = needs.get(name, [])
    form = next((need.form for need in (*wanted, *_beyond(graph, name, needs)) if need.form), form_of(value))
    return storage_in(graph, name, form, wanted)


def storage_in(graph: Graph, name: str, form: Form, needs: list[Need]) -> Storage:
    """Return the storage of a value in one form.

    It has the borders that its readers want.
    """
    bordered = [need for need in needs if need.form == form and need.border is not None]
    sides = [need.border for need in bordered if need.border is not None]
    border: Sides = tuple(max(side) for side in zip(*sides, strict=True)) if sides else NO_BORDER
    byte = bordered[0].border_value if bordered and form == "bytes" else 0
    return make_storage(-1, graph.types[name], form, border, byte)


def _beyond(graph: Graph, name: str, needs: Mapping[str, list[Need]]) -> list[Need]:
    """Return what the readers of the flattened value want, where that can be the same memory."""
    found: list[Need] = []
    for op in graph.ops:
        if isinstance(op, Flatten) and op.inputs[0] == name:
            unit = {"bits": _WORD_BITS, "planes": _WORD_BITS, "bytes": _QUAD, "lanes": 1}
            readers = [replace(need, border=None) for need in needs.get(op.output, []) if need.form]
            found += [need for need in readers if need.form and graph.types[name].channels % unit[need.form] == 0]
    return found
