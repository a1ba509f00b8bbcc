"""Whatever happens to a file: it is refused with an error of its own, or it is a network that runs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from featherbit.errors import FileError, InputError
from featherbit.ir import Graph, load, reference, save
from oracles_ir import Parts, container
from strategies_ir import batch_for, every_op, graphs

MOST_ELEMENTS = 100_000

SCALARS: list[Any] = [None, True, 0, -1, 1, 8, 70, 2**31, 2**64, 0.5, "", "x", "flat", "Linear", "U64"]
VALUES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "op", "shape"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def good_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(every_op(), Path(folder) / "net.fbit")
        return (Path(folder) / "net.fbit").read_bytes()


GOOD = good_bytes()


def assert_refused_or_runs(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.fbit"
        path.write_bytes(data)
        try:
            graph = load(path)
        except FileError:
            return
        assert_runs(graph)
        assert_library_agrees(graph, data)
        save(graph, Path(folder) / "again.fbit")
        assert load(Path(folder) / "again.fbit") == graph


def assert_runs(graph: Graph) -> None:
    small = max(kind.size for kind in graph.types.values()) <= MOST_ELEMENTS
    try:
        values = reference.run(graph, batch_for(graph, 2, seed=0) if small else batch_for(graph, 0, seed=0))
    except InputError:
        return
    assert {name: value.shape[1:] for name, value in values.items()} == {n: t.shape for n, t in graph.types.items()}


def assert_library_agrees(graph: Graph, data: bytes) -> None:
    tensors = safetensors.numpy.load(data)
    arrays = {f"{op.output}.{name}": array for op in graph.ops for name, array in op.arrays().items()}
    assert set(tensors) == set(arrays)
    assert all(tensors[name].tobytes() == array.tobytes() for name, array in arrays.items())


@given(graphs())
@settings(deadline=None, max_examples=40)
def test_any_graph_survives_saving_and_loading(graph: Graph) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("a.fbit", "b.fbit")]
        save(graph, paths[0])
        assert load(paths[0]) == graph
        save(load(paths[0]), paths[1])
        assert paths[0].read_bytes() == paths[1].read_bytes()


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 7)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=300)
def test_flipped_bits_are_refused_or_run(flips: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, bit in flips:
        data[place] ^= 1 << bit
    assert_refused_or_runs(bytes(data))


@given(st.integers(0, len(GOOD)), st.integers(0, 40), st.binary(max_size=40) | st.integers(0, len(GOOD)))
@settings(deadline=None, max_examples=200)
def test_spliced_bytes_are_refused_or_run(place: int, gone: int, new: bytes | int) -> None:
    piece = new if isinstance(new, bytes) else GOOD[new : new + 40]
    assert_refused_or_runs(GOOD[:place] + piece + GOOD[place + gone :])


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=50)
def test_random_bytes_are_refused(data: bytes) -> None:
    assert_refused_or_runs(data)
    assert_refused_or_runs(container(data))


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_any_change_to_the_graph_is_refused_or_runs(data: st.DataObject) -> None:
    parts = Parts.of(GOOD)
    change(parts.graph, data)
    assert_refused_or_runs(parts.to_bytes())


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_any_change_to_the_header_is_refused_or_runs(data: st.DataObject) -> None:
    parts = Parts.of(GOOD)
    header = dict(parts.header)
    change(header, data)
    assert_refused_or_runs(container(json.dumps(header).encode(), parts.body))


@given(st.data(), st.sampled_from(["sum1", "bits1", "sum2", "y"]))
@settings(deadline=None, max_examples=100)
def test_any_bytes_in_an_array_are_refused_or_run(data: st.DataObject, output: str) -> None:
    parts = Parts.of(GOOD)
    tensor = data.draw(st.sampled_from([name for name in parts.header if name.startswith(f"{output}.")]))
    begin, end = parts.header[tensor]["data_offsets"]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    parts.body = parts.body[:begin] + rng.bytes(end - begin) + parts.body[end:]
    assert_refused_or_runs(parts.to_bytes())


def change(tree: Any, data: st.DataObject) -> None:
    """Replace, remove or copy one node of a JSON tree."""
    parent, key = data.draw(st.sampled_from(list(nodes(tree))))
    action = data.draw(st.sampled_from(["replace", "replace", "remove", "copy"]))
    if action == "remove":
        del parent[key]
    elif action == "copy":
        other, other_key = data.draw(st.sampled_from(list(nodes(tree))))
        parent[key] = json.loads(json.dumps(other[other_key]))
    else:
        parent[key] = data.draw(VALUES)


def nodes(tree: Any) -> Any:
    """Yield each node of a JSON tree as its parent and its key there."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else []
    for key in keys:
        yield tree, key
        yield from nodes(tree[key])
