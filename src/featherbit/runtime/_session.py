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
from ..kernels import MAX_THREADS, aligned_empty, resolve_isa
from ._explain import LayerRow, explain
from ._plan import NativePlan, make_plan
from ._storage import Storage


class Session:
    """Run a packed network.

    Planning repacks the weights once; after that a call allocates its result and nothing else. A session may be used
    from many threads at once: the GIL is released while it runs.

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

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return self._input.shape

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """Dtype that an input must have, uint8 or float32."""
        return self._dtype

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output, without the batch."""
        return self._output.shape

    @property
    def panel_bytes(self) -> int:
        """Bytes of repacked weights that the session holds in memory."""
        return self._native.plan.panel_bytes

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
            InputError: wrong dtype, wrong shape, a NaN, or a wrong thread count.
        """
        x = self._check(x)
        threads = self.threads if threads is None else _check_threads(threads)
        output = self._memory(self._native.output, len(x))
        self._native.plan.run(x, output, len(x), threads, [])
        return self._native.output.unpack(output, self._output)

    __call__ = run

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

    def trace(self, x: NDArray[Any], *, threads: int | None = None) -> dict[str, NDArray[Any]]:
        """Compute every value with the native kernels, to compare with the trained one.

        Values that `run` writes to memory come from the same steps; those that it never writes, such as sums that are
        thresholded at once, come from a second plan of the same kernels with a step for each op.

        Args:
            x: as for `run`.
            threads: as for `run`.

        Returns:
            Every value by name, `[B, *shape]`, as `ir.reference.run` gives them.

        Raises:
            InputError: as for `run`.
        """
        x = self._check(x)
        threads = self.threads if threads is None else _check_threads(threads)
        values = {self.graph.input.output: x}
        for plan in (self._apart, self._native):
            values |= self._traced(plan, x, threads)
        return {name: values[name] for name in self.graph.types}

    @cached_property
    def _apart(self) -> NativePlan:
        """The plan with a step for each op."""
        return make_plan(self.graph, self.isa, kernels=self._kernels, fuse=False)

    def _traced(self, plan: NativePlan, x: NDArray[Any], threads: int) -> dict[str, NDArray[Any]]:
        """Run a plan and return every value that it writes."""
        types = self.graph.types
        taps = [
            (index, place)
            for index, step in enumerate(plan.steps)
            for place in step.writes
            if place[0] in types  # not a copy
        ]
        raw = {place: self._memory(plan.storage[place], len(x), plan.row_bytes) for _, place in taps}
        output = self._memory(plan.output, len(x))
        native = [(index, plan.storage[place].memory, raw[place]) for index, place in taps]
        plan.plan.run(x, output, len(x), threads, native)
        values = {self.graph.input.output: x}  # a flattened input is the input
        for _, place in taps:
            storage = plan.storage[place]
            values[place[0]] = storage.unpack(raw[place][:, : storage.image_bytes], types[place[0]])
        for name, source in plan.aliases.items():
            if source in values:
                values[name] = values[source].reshape(len(x), *types[name].shape)
        return values

    @staticmethod
    def _memory(storage: Storage, batch: int, row_bytes: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Return memory for the images of a storage, or for all that its buffer holds."""
        size = storage.image_bytes if row_bytes is None else row_bytes[storage.memory]
        return aligned_empty((batch, size), np.uint8)

    def _check(self, x: NDArray[Any]) -> NDArray[Any]:
        if not isinstance(x, np.ndarray) or x.dtype != self._dtype:
            got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise InputError(f"the network takes a {self._dtype} array, got {got}; convert it first")
        if x.ndim != len(self.input_shape) + 1 or x.shape[1:] != self.input_shape:
            need = ", ".join(map(str, self.input_shape))
            raise InputError(f"the network takes shape [batch, {need}], got {list(x.shape)}")
        if x.dtype.kind == "f" and np.isnan(x).any():
            raise InputError("the input holds NaN, which has no sign and no code; remove it first")
        return np.ascontiguousarray(x)


def _check_threads(threads: int) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise InputError(f"threads must be an integer from 1 to {MAX_THREADS}, got {threads!r}")
    return threads
