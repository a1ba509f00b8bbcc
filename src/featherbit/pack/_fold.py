"""Write the thresholds of a function of a sum, and the max poolings that stand before its end.

The packed network quantizes first and pools codes, wherever that is the same: where what is pooled and the code both
only rise with the sum, or both only fall, the code never falls where what is pooled rises, so the greatest code is the
code of the greatest. Else it pools the sums, where what is pooled only rises with them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from ..bits import pack_sign
from ..ir import MaxPool2d, MultiThreshold, Threshold
from ._grids import Grid
from ._layout import channels_last, expanded, inverted, normal, same
from ._lowering import Lowering, shape_of
from ._rules_pools import window
from ._threshold import ALWAYS, NEVER, NotMonotonicError, find_ladders, find_thresholds, sampled
from ._values import Codes, Derived, Order

_SAMPLES = 4096
_CHUNK = 2**22


def fold(state: Lowering, node: fx.Node, derived: Derived, grid: Grid) -> Codes:
    """Write what computes the codes of a quantizer from a sum.

    Args:
        state: the lowering.
        node: the quantizer.
        derived: the function of a sum that it quantizes.
        grid: the numbers that it gives.

    Raises:
        NotMonotonicError: the codes rise and fall with the sum, or the poolings cannot be moved.
    """
    quantized = replace(derived, node=node)
    channels, source = state.channels(derived), derived.source

    def levels(candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        return grid.levels(state.evaluate(quantized, candidates))

    if grid.is_sign:
        thresholds, flips = find_thresholds(levels, source.codes, channels)
        ladders = thresholds[:, None]
    else:
        ladders, flips = find_ladders(levels, source.codes, channels, 2**grid.bits - 1)
    is_image = len(shape_of(source.node)) > 1 and not derived.by_place
    if not is_image and not derived.by_place:
        order = expanded(source.order, channels)
        ladders, flips = ladders[order], flips[order]
    source = state.as_image(source) if is_image else state.as_flat(source)
    if not derived.pools:
        name = _write(state, node, source.name, state.name(node), grid, ladders, flips)
        return state.remember(grid.codes(name, node, order=_order(state, derived, source)))
    if _codes_can_be_pooled(state, derived, ladders, flips):
        return _pool_codes(state, node, derived, grid, source, ladders, flips)
    name = _pool_sums(state, derived, source)
    name = _write(state, node, name, state.name(node), grid, ladders, flips)
    return state.remember(grid.codes(name, node, order=derived.order))


def _order(state: Lowering, derived: Derived, arranged: Codes) -> Order:
    """Return the order of a derived value whose source was brought into another layout."""
    if same(derived.source.order, arranged.order):
        return derived.order
    size = state.types[arranged.name].size
    places = inverted(expanded(derived.source.order, size))[expanded(arranged.order, size)]
    return normal(expanded(derived.order, size)[places])


def _write(
    state: Lowering,
    node: fx.Node,
    source: str,
    name: str,
    grid: Grid,
    ladders: NDArray[np.int32],
    flips: NDArray[np.bool_],
) -> str:
    packed, path = pack_sign(np.where(flips, 1, -1)), state.path(node)
    if grid.is_sign:
        return state.write(Threshold((source,), name, path, thresholds=ladders[:, 0], flips=packed))
    return state.write(MultiThreshold((source,), name, path, bits=grid.bits, thresholds=ladders, flips=packed))


def _pool_codes(
    state: Lowering,
    node: fx.Node,
    derived: Derived,
    grid: Grid,
    source: Codes,
    ladders: NDArray[np.int32],
    flips: NDArray[np.bool_],
) -> Codes:
    """Write thresholds, then the poolings; the first values are the model's without the poolings that follow."""
    start: dict[str, Any] = {"start": source.node}
    name = _write(state, node, source.name, state.name(node, "unpooled"), grid, ladders, flips)
    state.remember(grid.codes(name, node, order=source.order, skip=derived.skip, **start))
    for i, pool in enumerate(derived.pools, start=1):
        is_last = i == len(derived.pools)
        output = state.name(node) if is_last else state.name(node, "pooled")
        name = state.write(MaxPool2d((name,), output, state.path(pool), **window(state, pool)))
        if not is_last:
            skip = {n: m for n, m in derived.skip.items() if n not in derived.pools[:i]}
            state.remember(grid.codes(name, node, order=channels_last(shape_of(pool)), skip=skip, **start))
    return state.remember(grid.codes(name, node, order=derived.order))


def _pool_sums(state: Lowering, derived: Derived, source: Codes) -> str:
    """Write the poolings of the sum itself; the model's value is the pooling with the sum as its input."""
    name, skip, before = source.name, {}, source.node
    for pool in derived.pools:
        skip[pool.all_input_nodes[0]] = before
        name = state.write(MaxPool2d((name,), state.name(pool), state.path(pool), **window(state, pool)))
        pooled = replace(
            source, name=name, node=pool, order=channels_last(shape_of(pool)), start=source.node, skip=dict(skip)
        )
        state.remember(pooled)
        before = pool
    return name


def _codes_can_be_pooled(
    state: Lowering, derived: Derived, ladders: NDArray[np.int32], flips: NDArray[np.bool_]
) -> bool:
    """Whether codes can be pooled; if not, sums can.

    Raises:
        NotMonotonicError: neither can.
    """
    constant = ((ladders == ALWAYS) | (ladders == NEVER)).all(axis=1)
    codes = sums = True
    for pool in derived.pools:
        before = replace(derived, node=pool.all_input_nodes[0])
        rises, falls = _directions(state, before, len(flips))
        codes = codes and bool((np.where(flips, falls, rises) | constant).all())
        sums = sums and bool(rises.all())
    if not codes and not sums:
        reason = "the greatest of a window before it is not that of the greatest or the least sum in every channel"
        raise NotMonotonicError(f"{reason}; put the max pooling before the batch norm, or the quantizer before it")
    return codes


def _directions(state: Lowering, derived: Derived, channels: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return in which channels a function of a sum never falls, and in which it never rises."""
    sums = derived.source.codes
    rows = sampled(len(sums), channels, _SAMPLES)
    rises, falls = np.ones(channels, dtype=bool), np.ones(channels, dtype=bool)
    chunk = max(2, _CHUNK // channels)
    nans = np.zeros(channels, dtype=np.int64)
    for begin in range(0, len(rows), chunk - 1):  # chunks overlap by one row
        part = sums.start + sums.step * rows[begin : begin + chunk]
        reals = state.evaluate(derived, np.repeat(part[:, None], channels, axis=1))
        rises &= ~(reals[1:] < reals[:-1]).any(axis=0)
        falls &= ~(reals[1:] > reals[:-1]).any(axis=0)
        nans += np.isnan(reals).any(axis=0).astype(np.int64) - np.isnan(reals).all(axis=0)
    if nans.any():
        raise NotMonotonicError("some sums give NaN before the max pooling")
    return rises, falls
