"""Lowering of operators that move elements: reshapes, permutations, slices, padding, concatenation.

Where each element comes from is found by running the operator on the indices themselves. A permutation costs nothing:
it is remembered as the value's order. A slice becomes a `Rearrange`.
"""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from ..ir import Concat
from ._capture import evaluate
from ._layout import channels_last, expanded, image_shape, indices, inverted, normal
from ._lowering import Lowering, lowers, lowers_reals, shape_of
from ._values import Codes, Derived, Padded, Real, Rows, Tokens, Value, describe, origin

aten = torch.ops.aten
_MOVES = (
    aten.flatten.using_ints,
    aten.view.default,
    aten.reshape.default,
    aten.permute.default,
    aten.transpose.int,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.squeeze.default,
    aten.unsqueeze.default,
    aten.unflatten.int,
    aten.slice.Tensor,
    aten.select.int,
    aten.flip.default,
    aten.channel_shuffle.default,
    operator.getitem,
)


@lowers(aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default, aten.unbind.int)
def _parts(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    return inputs[0]


@lowers(*_MOVES)
def _move(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    value = inputs[0]
    if isinstance(value, Tokens):
        return value
    if isinstance(value, Padded | Rows) or value is None or len(inputs) != 1:
        raise state.refuse(node, f"{node.target} of {describe(value)} cannot be packed")
    sources = _sources(state, node)  # [size after]
    size = math.prod(shape_of(origin(node)))
    if len(sources) != size or len(np.unique(sources)) != len(sources):
        if isinstance(value, Derived):
            value = state.as_real(value, node)
        assert isinstance(value, Codes | Real)
        return _take(state, node, value, sources)
    moved: Value = _reorder(node, value, sources)
    return moved


def _reorder(node: fx.Node, value: Any, sources: NDArray[np.int64]) -> Any:
    """Return a value whose captured tensor was permuted: new element `i` is old element `sources[i]`."""
    order = normal(inverted(sources)[expanded(value.order, len(sources))])
    if isinstance(value, Derived):
        return replace(value, node=node, order=order, moves=value.moves | {node})
    return replace(value, node=node, order=order)


@lowers_reals(*_MOVES)
def _move_real(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    moved: Real = _reorder(node, state.as_real(value, node), _sources(state, node))
    return state.remember(moved)


def _sources(state: Lowering, node: fx.Node) -> NDArray[np.int64]:
    """Return which element of its input each element of a node is, both flat and without the batch."""
    before = origin(node)
    size = math.prod(shape_of(before))
    places = torch.from_numpy(np.stack([indices(shape_of(before)), indices(shape_of(before)) + size]))  # [2, *shape]
    moved = evaluate(state.captured, {before: places}, [node])[node].numpy()
    rows: NDArray[np.int64] = moved.reshape(len(moved), -1) if moved.ndim > 1 else moved[None]
    if moved.ndim < 2 or len(moved) != 2 or rows[0].max() >= size or not np.array_equal(rows[1], rows[0] + size):
        raise state.refuse(node, f"{node.target} moves elements between the inputs of a batch")
    sources: NDArray[np.int64] = rows[0]
    return sources


def _take(state: Lowering, node: fx.Node, value: Codes | Real, sources: NDArray[np.int64]) -> Value:
    shape = shape_of(node)
    is_image = len(shape) in (2, 3)
    order = channels_last(shape) if is_image else None
    where = inverted(expanded(value.order, state.types[value.name].size))[sources]  # of each captured element
    graph_shape = image_shape(shape) if is_image else shape
    op = state.rearrange(node, value.name, state.name(node), graph_shape, where[expanded(order, len(where))])
    return state.remember(replace(value, name=state.write(op), node=node, order=order))


@lowers(aten.pad.default, aten.constant_pad_nd.default)
def _pad(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    args: list[Any] = list(node.args)
    if node.target is aten.pad.default:
        mode = args[2] if len(args) > 2 else node.kwargs.get("mode", "constant")
        if mode != "constant":
            raise state.refuse(node, f"padding of mode {mode!r} cannot be packed; use a constant")
        number: Any = args[3] if len(args) > 3 else node.kwargs.get("value")
    else:
        number = args[2] if len(args) > 2 else 0
    codes = state.as_codes(node, inputs[0])
    sizes = [*args[1], 0, 0, 0, 0]
    left, right, top, bottom = sizes[:4]
    if (
        len(shape_of(codes.node)) not in (2, 3)
        or any(sizes[4:])
        or min(sizes) < 0
        or (len(shape_of(codes.node)) == 2 and top + bottom)
    ):
        raise state.refuse(node, f"padding by {args[1]} cannot be packed; pad height and width only")
    steps = float(number or 0) / codes.scale
    if steps != round(steps):
        raise state.refuse(node, f"it pads with {number}, which is no multiple of the input's step {codes.scale}")
    return Padded(codes, (top, left, bottom, right), round(steps))


@lowers(aten.cat.default)
def _cat(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    nodes: Any = node.args[0]
    dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if dim not in (1, 1 - node.meta["val"].ndim):
        raise state.refuse(node, f"values are joined along dimension {dim}; only channels, dimension 1, can be joined")
    values = [state.values[argument] for argument in nodes]
    if len(values) == 1:
        return values[0]
    parts: list[Any] = list(values)
    if not all(isinstance(value, Codes) for value in parts) or not _one_kind(state, parts):
        parts = [state.as_real(value, node) for value in values]
    is_image = len(shape_of(node)) in (2, 3)
    parts = [state.as_image(part) if is_image else state.as_flat(part) for part in parts]
    name = state.write(Concat(tuple(part.name for part in parts), state.name(node), state.path(node)))
    order = channels_last(shape_of(node)) if is_image else _joined_order(state, parts)
    if isinstance(parts[0], Real):
        return state.remember(Real(name, node, order))
    codes: Codes = replace(parts[0], name=name, node=node, codes=_joined_codes(parts), order=order)
    return state.remember(codes)


def _one_kind(state: Lowering, parts: list[Codes]) -> bool:
    first = parts[0]
    return all(
        state.types[part.name].kind == state.types[first.name].kind
        and (part.scale, part.zero_point, part.divisor) == (first.scale, first.zero_point, first.divisor)
        for part in parts
    )


def _joined_codes(parts: list[Codes]) -> range:
    ranges = [part.codes for part in parts]
    if all(codes == ranges[0] for codes in ranges):
        return ranges[0]
    return range(min(codes[0] for codes in ranges), max(codes[-1] for codes in ranges) + 1)


def _joined_order(state: Lowering, parts: list[Any]) -> Any:
    orders, offset = [], 0
    for part in parts:
        size = state.types[part.name].size
        orders.append(expanded(part.order, size) + offset)
        offset += size
    return normal(np.concatenate(orders))
