"""Turn a graph into the steps of a native plan.

Four passes, each over the result of the one before: choose a kernel for every product, group ops into steps, choose a
storage for every value that is written (adding steps that copy one where a reader needs another form), and hand out
buffers, which are reused as soon as their last reader has run. Then the native steps are built.

A network with a memory becomes up to three native plans, one for each phase (`_phases.py`). What crosses from one to
the next, and the states, are memories outside of them all, as the input and the output are.
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
from ._phases import Phase, phases
from ._products import ProductPlan, plan_products
from ._storage import Form, Storage, form_of, make_storage

INPUT, OUTPUT, FIRST_STATE = 0, 1, 2
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
        phase: when it runs.
    """

    ops: tuple[Op, ...]
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]
    phase: Phase = Phase.BEFORE


@dataclass(frozen=True)
class NativePlan:
    """A native plan for each phase and what is needed to call them.

    Args:
        plans: the native object of each phase, `None` of one without steps.
        steps: their steps, in order.
        storage: where each value in a form lies while it is needed.
        aliases: each value that is another one seen differently (after `Flatten`), with the value it stands for.
        products: what computes each product, by the name of its value.
        output: storage of the graph's output.
        row_bytes: what each memory takes for an image.
        states: how many states there are; memory `2 + 2i` holds what a step takes over, the next one what it leaves.
        externals: memories outside of the plans: input, output, states, and what crosses from one phase to the next.
    """

    plans: tuple[_native.Plan | None, ...]
    steps: tuple[Step, ...]
    storage: Mapping[Place, Storage]
    aliases: Mapping[str, str]
    products: Mapping[str, ProductPlan]
    output: Storage
    row_bytes: tuple[int, ...]
    states: int
    externals: int

    @property
    def panel_bytes(self) -> int:
        """Bytes of repacked weights."""
        return sum(plan.panel_bytes for plan in self.plans if plan is not None)

    @property
    def arena_bytes(self) -> int:
        """Bytes of the memory that one thread takes for one image."""
        return sum(plan.arena_bytes for plan in self.plans if plan is not None)


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
    products, when = plan_products(graph, isa, kernels or {}), phases(graph)
    draft = _Draft(graph, when, group_ops(graph, when, fuse=fuse), products)
    draft.write_steps()
    storage, row_bytes, externals = _assign(draft)
    states = range(FIRST_STATE, FIRST_STATE + 2 * len(graph.states))
    stateless = [0 if memory in states else size for memory, size in enumerate(row_bytes)]  # states have fewer images
    plans: list[_native.Plan | None] = []
    for phase in Phase:
        steps = [step for step in draft.steps if step.phase == phase]
        native = [emit(graph, isa, step.ops, step.reads, step.writes, storage, products) for step in steps]
        sizes = row_bytes if phase == Phase.STEP else stateless
        plans.append(_native.Plan(native, sizes, externals) if native else None)
    return NativePlan(
        tuple(plans),
        tuple(draft.steps),
        storage,
        draft.aliases,
        products,
        storage[draft.output],
        tuple(row_bytes),
        len(graph.states),
        externals,
    )


@dataclass
class _Draft:
    """Steps and storages before buffers are handed out."""

    graph: Graph
    when: Mapping[str, Phase]
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
        for i, state in enumerate(graph.states):
            self._write(state.output, self._exact(state.output, FIRST_STATE + 2 * i))
        for group in self.groups:
            self._write_step(group)
        for i, state in enumerate(graph.states):
            self._take_over(state.next, FIRST_STATE + 2 * i + 1)
        self.steps.sort(key=lambda step: step.phase)
        self.output = self.primary[graph.output]

    def _write_step(self, group: Group) -> None:
        head, phase = group.ops[0], self.when[group.ops[0].output]
        if isinstance(head, Flatten) and self._alias(head):
            return
        reads = tuple(self._read(need, phase) for need in group_needs(group, self.products))
        for name in group.stores:
            memory = self._wanted(name)
            if memory is None:
                self._write(name, choose_storage(self.graph, name, self.needs))
            else:
                self._write(name, self._exact(name, memory))
        self.steps.append(Step(group.ops, reads, tuple(self.primary[name] for name in group.stores), phase))

    def _wanted(self, name: str) -> int | None:
        """Return the caller's memory that a value is written to, if it is: the output, or a state of the next step."""
        if name == self.graph.output:
            return OUTPUT
        if self.when[name] != Phase.STEP:
            return None
        nexts = [state.next for state in self.graph.states]
        return FIRST_STATE + 2 * nexts.index(name) + 1 if name in nexts else None

    def _take_over(self, name: str, memory: int) -> None:
        """Copy a value for the next step, unless it was written there."""
        place = self.primary[name]
        if self.storage[place].memory != memory:
            copy = (f"{name}{COPY}{memory}", form_of(self.graph.types[name]))
            self.storage[copy] = self._exact(name, memory)
            self.steps.append(Step((), (place,), (copy,), Phase.STEP))

    def _exact(self, name: str, memory: int) -> Storage:
        """Return the storage of a value in a memory of the caller's."""
        value = self.graph.types[name]
        return make_storage(memory, value, form_of(value), exact=True)

    def _write(self, name: str, storage: Storage) -> None:
        self.primary[name] = (name, storage.form)
        self.storage[name, storage.form] = storage

    def _read(self, need: Need, phase: Phase) -> Place:
        """Return a place that meets a need, copying the value where there is none.

        A state lasts one step: what reads it after all steps reads a copy.
        """
        place = self.primary[need.value]
        states = range(FIRST_STATE, FIRST_STATE + 2 * len(self.graph.states))
        passing = phase == Phase.AFTER and self.storage[place].memory in states
        if not passing and need.met_by(self.storage[place].seen_as(self.graph.types[need.value])):
            return place
        copy = (need.value + COPY, need.form or place[1])
        if copy not in self.storage:
            self.storage[copy] = storage_in(self.graph, need.value, copy[1], self.needs[need.value])
            self.steps.append(Step((), (place,), (copy,), Phase.STEP if passing else phase))
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


def _assign(draft: _Draft) -> tuple[dict[Place, Storage], list[int], int]:
    """Give each place a memory and each memory a size; tell how many lie outside the plans."""
    last = {place: index for index, step in enumerate(draft.steps) for place in (*step.writes, *step.reads)}
    storage = dict(draft.storage)
    sizes = [0] * (FIRST_STATE + 2 * len(draft.graph.states))
    for place in (place for place in storage if storage[place].memory >= 0):
        sizes[storage[place].memory] = storage[place].image_bytes
    for place in _crossing(draft, storage):
        storage[place] = replace(storage[place], memory=len(sizes))
        sizes.append(_whole_lines(storage[place]))
    externals = len(sizes)
    free: list[int] = []
    for index, step in enumerate(draft.steps):
        for place in step.writes:
            if storage[place].memory >= 0:
                continue
            memory = _in_place(draft, index, place, storage, last, externals)
            if memory is None:
                if not free:
                    sizes.append(0)
                    free.append(len(sizes) - 1)
                memory = free.pop()
            storage[place] = replace(storage[place], memory=memory)
            sizes[memory] = max(sizes[memory], _whole_lines(storage[place]))
        kept = {storage[place].memory for place in step.writes if last[place] > index}
        ended = {storage[place].memory for place in (*step.reads, *step.writes) if last[place] == index}
        free += sorted(memory for memory in ended - kept if memory >= externals)
    return storage, sizes, externals


def _crossing(draft: _Draft, storage: Mapping[Place, Storage]) -> list[Place]:
    """Return the places without a memory that a later phase than that of their writer reads."""
    written = {place: step.phase for step in draft.steps for place in step.writes}
    read = {place for step in draft.steps for place in step.reads if written.get(place, step.phase) < step.phase}
    return [place for place in written if place in read and storage[place].memory < 0]


def _whole_lines(storage: Storage) -> int:
    return -(-storage.image_bytes // _LINE_BYTES) * _LINE_BYTES


def _in_place(
    draft: _Draft,
    index: int,
    place: Place,
    storage: Mapping[Place, Storage],
    last: Mapping[Place, int],
    externals: int,
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
        if same and free and was_read and storage[read].memory >= externals:
            return storage[read].memory
    return None
