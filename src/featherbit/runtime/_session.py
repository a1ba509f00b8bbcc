"""`Session`: a packed network, planned once, run by one native call per inference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..ir import Graph, load
from ..kernels import MAX_THREADS, _native, aligned_empty, resolve_isa
from ._explain import LayerRow, explain
from ._phases import Phase
from ._plan import FIRST_STATE, OUTPUT, NativePlan, Place, make_plan

State = Mapping[str, NDArray[np.float32]]
"""What one step of a network with a memory hands to the next: each part by name, float32 `[B, *shape]`."""


class Session:
    """Run a packed network.

    Planning repacks the weights once; after that a call allocates its result, and with a memory what lies between its
    steps, and nothing else. A session may be used
    from many threads at once: the GIL is released while it runs.

    A network with a memory (`state_shapes` is not empty) is run by `step` or `run_sequence`, any other by `run`. The
    session itself remembers nothing: each call takes a state and returns the next.

    Args:
        graph: a `Graph`, or the path of a packed file.
        isa: instruction set; None is the best one, or what `FEATHERBIT_FORCE_ISA` names.
        threads: threads of each call, unless the call says otherwise.
        kernels: `"planes"` or `"bytes"` for products of some layers, by path or value name; the rest by cost.

    Raises:
        FileError: the file is missing or wrong.
        GraphError: the graph cannot be planned, or not with these kernels.
        KernelError: the ISA is unknown or not available.
        InputError: threads is not a positive integer.
    """

    def __init__(
        self,
        graph: Graph | str | os.PathLike[str],
        *,
        isa: str | None = None,
        threads: int = 1,
        kernels: Mapping[str, str] | None = None,
    ) -> None:
        self.graph = graph if isinstance(graph, Graph) else load(Path(graph))
        self.isa = resolve_isa(isa)
        self.threads = _check_threads(threads)
        self._kernels = dict(kernels or {})
        self._native = make_plan(self.graph, self.isa, kernels=self._kernels)
        self._input = self.graph.types[self.graph.input.output]
        self._output = self.graph.types[self.graph.output]
        self._dtype = np.dtype(self.graph.input.dtype)
        self._tokens = self.graph.tokens

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return self._input.shape

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """Dtype that an input must have: uint8, float32, or int32 for tokens."""
        return self._dtype

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output, without the batch."""
        return self._output.shape

    @cached_property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part of the state, without the batch.

        Empty for a network without a memory.
        """
        return {state.output: state.shape for state in self.graph.states}

    @property
    def panel_bytes(self) -> int:
        """Bytes of repacked weights that the session holds in memory."""
        return self._native.panel_bytes

    def explain(self) -> tuple[LayerRow, ...]:
        """Return one row per layer: formats, shape, operations, bytes, kernel and why."""
        return explain(self.graph, self.isa, plan=self._native)

    def run(self, x: NDArray[Any], *, threads: int | None = None) -> NDArray[Any]:
        """Compute the network's output.

        Args:
            x: `[B, *input_shape]` of `input_dtype`, B from 0 up, no NaN.
            threads: threads of this call; None is the session's.

        Returns:
            `[B, *output_shape]`, new memory: the scores in float32; int8 -1 and +1, uint8 codes or int32 where
            the graph ends in such a value.

        Raises:
            InputError: wrong dtype, wrong shape, a NaN, a wrong thread count, or a network with a memory.
        """
        if self.state_shapes:
            raise InputError("the network has a memory: call step(x, state), or run_sequence(x, state) for many steps")
        x = self._check(x)
        memories = self._memories(self._native, x, {})
        self._run(self._native, memories, 1, len(x), threads)
        return self._native.output.unpack(memories[OUTPUT], self._output)

    __call__ = run

    def step(
        self, x: NDArray[Any], state: State | None = None, *, threads: int | None = None
    ) -> tuple[NDArray[Any], dict[str, NDArray[np.float32]]]:
        """Run one step of a network with a memory.

        Args:
            x: `[B, *input_shape]`, as for `run`.
            state: what the step before returned; `None` is all zeros.
            threads: as for `run`.

        Returns:
            The output `[B, *output_shape]`, and the next state, all new memory.

        Raises:
            InputError: as for `run`, or a state of another form.
        """
        output, state = self.run_sequence(x[None] if isinstance(x, np.ndarray) else x, state, threads=threads)
        return output[0], state

    def run_sequence(
        self, x: NDArray[Any], state: State | None = None, *, threads: int | None = None
    ) -> tuple[NDArray[Any], dict[str, NDArray[np.float32]]]:
        """Run all steps of sequences, in native code.

        Args:
            x: `[T, B, *input_shape]`, else as for `run`; T from 0 up.
            state: float32 `[B, *shape]` for each of `state_shapes`; `None` is all zeros.
            threads: as for `run`.

        Returns:
            The outputs `[T, B, *output_shape]`, and the state after the last step, all new memory.

        Raises:
            InputError: as for `run`, or a state of another form.
        """
        x = self._check(x, sequence=True)
        steps, batch = x.shape[:2]
        before = self._check_state(state, batch)
        memories = self._memories(self._native, x.reshape(steps * batch, *self.input_shape), before)
        self._run(self._native, memories, steps, batch, threads)
        output = self._native.output.unpack(memories[OUTPUT], self._output)
        return output.reshape(steps, batch, *self.output_shape), self._state(memories, steps)

    def predict(self, x: NDArray[Any], *, threads: int | None = None) -> NDArray[np.int64]:
        """Return the class of each input, int64 `[B]`.

        It is the index of the greatest score; ties go to the first.

        Args:
            x: as for `run`.
            threads: as for `run`.

        Raises:
            InputError: as for `run`.
        """
        scores = self.run(x, threads=threads)
        classes: NDArray[np.int64] = np.argmax(scores.reshape(len(scores), self._output.size), axis=1)  # [B, N]
        return classes

    def trace(
        self, x: NDArray[Any], state: State | None = None, *, threads: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Compute every value with the native kernels, to compare with the trained one.

        Values that `run` writes to memory come from the same steps; those that it never writes, such as sums that are
        thresholded at once, come from a second plan of the same kernels with a step for each op.

        Args:
            x: as for `run`; the inputs of one step of a network with a memory.
            state: as for `step`.
            threads: as for `run`.

        Returns:
            Every value by name, `[B, *shape]`, as `ir.reference.run` gives them.

        Raises:
            InputError: as for `run` and `step`.
        """
        x = self._check(x)
        before = self._check_state(state, len(x))
        values = {self.graph.input.output: x, **before}
        for plan in (self._apart, self._native):
            values |= self._traced(plan, x, before, threads)
        return {name: values[name] for name in self.graph.types}

    @cached_property
    def _apart(self) -> NativePlan:
        """The plan with a step for each op."""
        return make_plan(self.graph, self.isa, kernels=self._kernels, fuse=False)

    def _traced(self, plan: NativePlan, x: NDArray[Any], before: State, threads: int | None) -> dict[str, NDArray[Any]]:
        """Run a plan and return every value that it writes."""
        types = self.graph.types
        raw: dict[Place, NDArray[np.uint8]] = {}
        taps: list[list[tuple[int, int, NDArray[np.uint8]]]] = [[] for _ in Phase]
        for phase in Phase:
            for index, step in enumerate(step for step in plan.steps if step.phase == phase):
                for place in (place for place in step.writes if place[0] in types):  # not a copy
                    raw[place] = aligned_empty((len(x), plan.row_bytes[plan.storage[place].memory]), np.uint8)
                    taps[phase].append((index, plan.storage[place].memory, raw[place]))
        self._run(plan, self._memories(plan, x, before), 1, len(x), threads, taps)
        values = {self.graph.input.output: x, **before}  # a flattened input is the input
        for place, rows in raw.items():
            storage = plan.storage[place]
            values[place[0]] = storage.unpack(rows[:, : storage.image_bytes], types[place[0]])
        for name, source in plan.aliases.items():
            if source in values:
                values[name] = values[source].reshape(len(x), *types[name].shape)
        return values

    def _memories(self, plan: NativePlan, x: NDArray[Any], before: State) -> list[NDArray[Any]]:
        """Return the caller's memories of a plan, with the input and the state in theirs.

        Args:
            plan: what will run.
            x: `[T * B, *input_shape]`.
            before: each part of the state, `[B, *shape]`.
        """
        memories: list[NDArray[Any]] = [x, aligned_empty((len(x), plan.row_bytes[OUTPUT]), np.uint8)]
        for part in before.values():
            memories += [np.array(part, order="C"), np.empty(part.shape, part.dtype)]  # a copy: the steps write there
        return memories

    def _run(
        self,
        plan: NativePlan,
        memories: list[NDArray[Any]],
        steps: int,
        batch: int,
        threads: int | None,
        taps: Sequence[list[tuple[int, int, NDArray[np.uint8]]]] = (),
    ) -> None:
        """Run each phase: all steps at once, or one after the other."""
        threads = self.threads if threads is None else _check_threads(threads)
        _native.run(plan.plans, memories, plan.states, steps, batch, threads, taps)

    def _state(self, memories: list[NDArray[Any]], steps: int) -> dict[str, NDArray[np.float32]]:
        """Return the state after so many steps: before and after change places with each."""
        return dict(zip(self.state_shapes, memories[FIRST_STATE + steps % 2 :: 2], strict=True))

    def _check(self, x: NDArray[Any], *, sequence: bool = False) -> NDArray[Any]:
        tokens = self._input.element == "token"
        wrong = not isinstance(x, np.ndarray) or (x.dtype.kind not in "iu" if tokens else x.dtype != self._dtype)
        if wrong:
            got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise InputError(f"the network takes a {self._dtype} array, got {got}; convert it first")
        leading = 2 if sequence else 1
        if x.ndim != len(self.input_shape) + leading or x.shape[leading:] != self.input_shape:
            need = ", ".join([*["steps"] * sequence, "batch", *map(str, self.input_shape)])
            raise InputError(f"the network takes shape [{need}], got {list(x.shape)}")
        if x.dtype.kind == "f" and np.isnan(x).any():
            raise InputError("the input holds NaN, which has no sign and no code; remove it first")
        if self._tokens is not None and x.size:
            least, most = (x.item(), x.item()) if x.size == 1 else (x.min(), x.max())  # a token a call is worth it
            if least < 0 or most >= self._tokens:
                raise InputError(f"tokens are 0 to {self._tokens - 1}, got {least} to {most}")
        return np.ascontiguousarray(x, dtype=self._dtype)

    def _check_state(self, state: State | None, batch: int) -> State:
        shapes = self.state_shapes
        if state is None:
            return {name: np.zeros((batch, *shape), dtype=np.float32) for name, shape in shapes.items()}
        if state.keys() != shapes.keys():
            raise InputError(f"the state has the parts {', '.join(shapes) or 'none'}, got {', '.join(state) or 'none'}")
        for name, shape in shapes.items():
            part = state[name]
            if not isinstance(part, np.ndarray) or part.dtype != np.float32 or part.shape != (batch, *shape):
                got = f"{part.dtype} {list(part.shape)}" if isinstance(part, np.ndarray) else type(part).__name__
                raise InputError(f"the state {name!r} must be float32 {[batch, *shape]}, got {got}")
        return {name: state[name] for name in shapes}


def _check_threads(threads: int) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise InputError(f"threads must be an integer from 1 to {MAX_THREADS}, got {threads!r}")
    return threads
