"""Turn a graph into the steps of a native plan.

Four passes, each over the result of the one before: choose a kernel for every product, group ops into steps, choose a
storage for every value that is written (adding steps that copy one where a reader needs another form), and hand out
buffers, which are reused as soon as their last reader has run. Then the native steps are built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from ..errors import GraphError
from ..ir import Flatten, Graph, Op
from ..kernels import _native
from ._emit import COPY, emit
from ._groups import Group, group_ops, separate_pools
from ._needs import Need, choose_storage, group_needs, storage_in
from ._products import ProductPlan, plan_products
from ._storage import Form, Storage, form_of, make_storage

INPUT, OUTPUT, FIRST_BUFFER = 0, 1, 2
_LINE_BYTES = 64
Place = tuple[str, Form]
"""A value in a form: the key of a storage."""


@dataclass(frozen=True)
class Step:
    """One native step.

    Args:
        ops: the ops it runs, in order; none where it copies a value into another form.
        reads: what it reads, in the order of its ops' inputs.
        writes: what it writes, in the order of its ops.
    """

    ops: tuple[Op, ...]
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]


@dataclass(frozen=True)
class NativePlan:
    """A native plan and what is needed to call it.

    Args:
        plan: the native object.
        steps: its steps, in order.
        storage: where each value in a form lies while it is needed.
        aliases: each value that is another one seen differently (after `Flatten`), with the value it stands for.
        products: what computes each product, by the name of its value.
        output: storage of the graph's output.
        row_bytes: what each memory takes for an image.
    """

    plan: _native.Plan
    steps: tuple[Step, ...]
    storage: Mapping[Place, Storage]
    aliases: Mapping[str, str]
    products: Mapping[str, ProductPlan]
    output: Storage
    row_bytes: tuple[int, ...]


def make_plan(graph: Graph, isa: str, *, kernels: Mapping[str, str] | None = None, fuse: bool = True) -> NativePlan:
    """Plan a graph for one ISA.

    Args:
        graph: what to run.
        isa: instruction set.
        kernels: `"planes"` or `"bytes"` for the product of some layers, by path or value name; else by cost.
        fuse: whether ops run together; without, every value is written to memory.

    Raises:
        GraphError: the graph computes nothing, or `kernels` names no product or a kernel that it cannot have.
    """
    if graph.output == graph.input.output:
        raise GraphError("the graph's output is its input: there is nothing to run")
    graph = separate_pools(graph)
    products = plan_products(graph, isa, kernels or {})
    draft = _Draft(graph, group_ops(graph, fuse=fuse), products)
    draft.write_steps()
    storage, row_bytes = _assign(draft)
    native = [emit(graph, isa, step.ops, step.reads, step.writes, storage, products) for step in draft.steps]
    plan = _native.Plan(native, row_bytes)
    output = storage[draft.output]
    return NativePlan(plan, tuple(draft.steps), storage, draft.aliases, products, output, tuple(row_bytes))


@dataclass
class _Draft:
    """Steps and storages before buffers are handed out."""

    graph: Graph
    groups: tuple[Group, ...]
    products: Mapping[str, ProductPlan]
    steps: list[Step] = field(default_factory=list)
    storage: dict[Place, Storage] = field(default_factory=dict)
    primary: dict[str, Place] = field(default_factory=dict)
    """The place that a value is first written to, or that of the value it is an alias of."""
    aliases: dict[str, str] = field(default_factory=dict)
    needs: dict[str, list[Need]] = field(default_factory=dict)
    output: Place = ("", "lanes")

    def write_steps(self) -> None:
        """Turn the groups into steps, with the copies that they need."""
        graph, source = self.graph, self.graph.input.output
        for group in self.groups:
            for need in group_needs(group, self.products):
                self.needs.setdefault(need.value, []).append(need)
        self._write(source, make_storage(INPUT, graph.types[source], form_of(graph.types[source]), exact=True))
        for group in self.groups:
            self._write_step(group)
        self.output = self.primary[graph.output]

    def _write_step(self, group: Group) -> None:
        head = group.ops[0]
        if isinstance(head, Flatten) and self._alias(head):
            return
        reads = tuple(self._read(need) for need in group_needs(group, self.products))
        for name in group.stores:
            if name == self.graph.output:
                value = self.graph.types[name]
                self._write(name, make_storage(OUTPUT, value, form_of(value), exact=True))
            else:
                self._write(name, choose_storage(self.graph, name, self.needs))
        self.steps.append(Step(group.ops, reads, tuple(self.primary[name] for name in group.stores)))

    def _write(self, name: str, storage: Storage) -> None:
        self.primary[name] = (name, storage.form)
        self.storage[name, storage.form] = storage

    def _read(self, need: Need) -> Place:
        """Return a place that meets a need, copying the value where there is none."""
        place = self.primary[need.value]
        if need.met_by(self.storage[place].seen_as(self.graph.types[need.value])):
            return place
        copy = (need.value + COPY, need.form or place[1])
        if copy not in self.storage:
            self.storage[copy] = storage_in(self.graph, need.value, copy[1], self.needs[need.value])
            self.steps.append(Step((), (place,), (copy,)))
        return copy

    def _alias(self, op: Flatten) -> bool:
        """Let a flattened value be the same memory, if its pixels have no gaps."""
        place = self.primary[op.inputs[0]]
        source = self.storage[place]
        if op.output == self.graph.output or not source.is_dense:
            return False
        if source.seen_as(self.graph.types[op.output]).image_bytes != source.image_bytes:
            return False
        self.primary[op.output] = place
        self.aliases[op.output] = self.aliases.get(op.inputs[0], op.inputs[0])
        return True


def _assign(draft: _Draft) -> tuple[dict[Place, Storage], list[int]]:
    """Give each place a memory, and each memory a size."""
    last = {place: index for index, step in enumerate(draft.steps) for place in (*step.writes, *step.reads)}
    storage = dict(draft.storage)
    sizes = [storage[draft.graph.input.output, form_of(draft.graph.types[draft.graph.input.output])].image_bytes, 0]
    free: list[int] = []
    for index, step in enumerate(draft.steps):
        for place in step.writes:
            if storage[place].memory == OUTPUT:
                continue
            memory = _in_place(draft, index, place, storage, last)
            if memory is None:
                if not free:
                    sizes.append(0)
                    free.append(len(sizes) - 1)
                memory = free.pop()
            storage[place] = replace(storage[place], memory=memory)
            lines = -(-storage[place].image_bytes // _LINE_BYTES)
            sizes[memory] = max(sizes[memory], lines * _LINE_BYTES)
        kept = {storage[place].memory for place in step.writes if last[place] > index}
        ended = {storage[place].memory for place in (*step.reads, *step.writes) if last[place] == index}
        free += sorted(memory for memory in ended - kept if memory >= FIRST_BUFFER)
    sizes[OUTPUT] = storage[draft.output].image_bytes
    return storage, sizes


def _in_place(
    draft: _Draft, index: int, place: Place, storage: Mapping[Place, Storage], last: Mapping[Place, int]
) -> int | None:
    """Return the memory of a value that a residual add of this step reads for the last time, if it fits.

    Each element is read before the one at its place is written, and what remains of two images in the cache is one.
    A value that the step stores before the add has read cannot take its place.
    """
    step = draft.steps[index]
    heads = len(step.ops[0].inputs) if step.ops else len(step.reads)
    taken = {storage[other].memory for other in step.writes if other != place}
    order = [op.output for op in step.ops]
    readers = [op for before, op in pairwise(step.ops) for name in op.inputs if name != before.output]
    added = list(zip(step.reads[heads:], readers, strict=True))
    for read, _ in added:
        same = replace(storage[read], memory=-1) == replace(storage[place], memory=-1)
        free = last[read] == index and read not in step.reads[:heads] and storage[read].memory not in taken
        was_read = all(order.index(op.output) <= order.index(place[0]) for other, op in added if other == read)
        if same and free and was_read and storage[read].memory >= FIRST_BUFFER:
            return storage[read].memory
    return None
