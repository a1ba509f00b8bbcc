"""Lowering of quantizers: of real numbers as they are, of functions of a sum into thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from .. import quantizers as quantizers  # registers the operators of torch.ops.featherbit
from ..bits import pack_sign
from ..errors import PackError
from ..ir import Clamp, MaxPool2d, MultiThreshold, PackSign, QuantizeLinear, Threshold
from ._layout import channels_last, expanded
from ._lowering import Lowering, lowers, shape_of
from ._rules_pools import window
from ._rules_products import SIGNS
from ._threshold import ALWAYS, EXHAUSTIVE, NEVER, NotMonotonicError, find_ladders, find_thresholds
from ._values import Codes, Constant, Derived, Real, Value, describe

featherbit_ops = torch.ops.featherbit
_SAMPLES = 4096


@dataclass(frozen=True)
class Grid:
    """The numbers that a quantizer gives: `scale * (low ... high)`, or -1 and +1.

    Args:
        low: the least integer.
        high: the greatest.
        scale: a power of two.
        step: what the input is divided by before it is rounded.
        is_sign: the numbers are -1 and +1.
    """

    low: int
    high: int
    scale: float
    step: float
    is_sign: bool = False

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return max(1, (self.high - self.low).bit_length())

    def levels(self, reals: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the code of each number of the grid, from 0 up.

        Raises:
            NotMonotonicError: a NaN, which has no code.
        """
        if np.isnan(reals).any():
            raise NotMonotonicError("a sum gives NaN, which has no code")
        if self.is_sign:
            return (reals > 0).astype(np.int64)
        return np.rint(reals.astype(np.float64) / self.scale).astype(np.int64) - self.low

    def codes(self, name: str, node: fx.Node, **fields: Any) -> Codes:
        """Return what quantized codes stand for."""
        if self.is_sign:
            return Codes(name, node, SIGNS, 1.0, **fields)
        return Codes(name, node, range(self.high - self.low + 1), self.scale, -self.low, **fields)


def _sign_grid(state: Lowering, node: fx.Node) -> Grid:
    return Grid(-1, 1, 1.0, 1.0, is_sign=True)


def _linear_grid(state: Lowering, node: fx.Node) -> Grid:
    bits: Any = node.args[1]
    half = 2 ** (bits - 1)
    return Grid(-half, half - 1, 1 / half, 1 / half)


def _unsigned_grid(state: Lowering, node: fx.Node) -> Grid:
    bits: Any = node.args[1]
    return Grid(0, 2**bits - 1, 2.0**-bits, 2.0**-bits)


def _rounded_grid(state: Lowering, node: fx.Node) -> Grid:
    step, low, high = node.args[1:4]
    value = state.values.get(step) if isinstance(step, fx.Node) else Constant(torch.tensor(step))
    if not isinstance(value, Constant) or value.tensor.numel() != 1:
        raise state.refuse(node, "its step must be one number that does not depend on the input")
    assert isinstance(low, int)
    assert isinstance(high, int)
    return Grid(low, high, 1.0, float(value.tensor))


_GRIDS = {
    "sign": _sign_grid,
    "linear_quant": _linear_grid,
    "unsigned_quant": _unsigned_grid,
    "round_codes": _rounded_grid,
}
_OPERATORS = {
    getattr(featherbit_ops, name).default: grid for name, grid in _GRIDS.items() if hasattr(featherbit_ops, name)
}


@lowers(*_OPERATORS)
def _quantize(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    value, grid = inputs[0], _OPERATORS[node.target](state, node)
    _check_grid(state, node, grid)
    if not isinstance(value, Real | Codes | Derived):
        raise state.refuse(node, f"{describe(value)} cannot be quantized")
    if isinstance(value, Real):
        return _quantize_real(state, node, value, grid)
    source = value if isinstance(value, Codes) else value.source
    if source.is_sum:
        derived = Derived(value, value.node, value.order) if isinstance(value, Codes) else value
        try:
            return _fold(state, node, derived, grid)
        except NotMonotonicError as error:
            reason = f"what stands between the product and the quantizer cannot be a threshold: {error}"
            raise state.refuse(node, reason) from error
    same = _unchanged(state, node, value)
    return same if same is not None else _quantize_real(state, node, state.as_real(value, node), grid)


def _check_grid(state: Lowering, node: fx.Node, grid: Grid) -> None:
    if not (grid.low <= 0 <= grid.high and 1 <= grid.high - grid.low <= 255 and grid.low >= -255):
        raise state.refuse(node, f"codes from {grid.low} to {grid.high} must have 0 among them and at most 8 bits")
    if not (grid.step > 0 and math.isfinite(grid.step)):
        raise state.refuse(node, f"its step must be positive and finite, got {grid.step}")


def _unchanged(state: Lowering, node: fx.Node, value: Codes | Derived) -> Codes | None:
    """Return codes that the quantizer leaves as they are, if it does."""
    try:
        codes = state.as_codes(node, value)
    except PackError:
        return None
    every = np.array(codes.codes)
    candidates = np.repeat(every[:, None], shape_of(codes.node)[0], axis=1)  # [R, C]
    quantized = state.evaluate(Derived(codes, node), candidates)
    return replace(codes, node=node) if (quantized == codes.reals(candidates)).all() else None


def _quantize_real(state: Lowering, node: fx.Node, value: Real, grid: Grid) -> Codes:
    path, order = state.path(node), value.order
    if grid.is_sign:
        return state.remember(
            grid.codes(state.write(PackSign((value.name,), state.name(node), path)), node, order=order)
        )
    source = value.name
    if grid.high < grid.low + 2**grid.bits - 1:  # a code of these bits is not used
        highest = float(np.float32(grid.high) * np.float32(grid.step))
        source = state.write(Clamp((source,), state.name(node, "clamped"), path, low=-math.inf, high=highest))
    name = state.write(QuantizeLinear((source,), state.name(node), path, bits=grid.bits, step=grid.step, low=grid.low))
    return state.remember(grid.codes(name, node, order=order))


def _fold(state: Lowering, node: fx.Node, derived: Derived, grid: Grid) -> Codes:
    """Write the thresholds of a function of a sum, and the max poolings that stood before its end."""
    quantized = replace(derived, node=node)
    channels, sums = state.channels(derived), derived.source.codes

    def levels(candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        return grid.levels(state.evaluate(quantized, candidates))

    source = derived.source
    is_image = len(shape_of(source.node)) > 1 and not derived.by_place
    source = state.as_image(source) if is_image else state.as_flat(source)
    columns = slice(None) if is_image or derived.by_place else expanded(source.order, channels)
    if grid.is_sign:
        thresholds, flips = find_thresholds(levels, sums, channels)
        ladders = thresholds[:, None]
    else:
        ladders, flips = find_ladders(levels, sums, channels, 2**grid.bits - 1)
    for pool in derived.pools:
        _check_pool(state, derived, pool, ladders, flips)
    name = state.name(node, "unpooled" if derived.pools else "")
    arrays = {"flips": pack_sign(np.where(flips[columns], 1, -1))}
    path = state.path(node)
    if grid.is_sign:
        state.write(Threshold((source.name,), name, path, thresholds=ladders[columns, 0], **arrays))
    else:
        state.write(MultiThreshold((source.name,), name, path, bits=grid.bits, thresholds=ladders[columns], **arrays))
    if not derived.pools:
        return state.remember(grid.codes(name, node, order=derived.order))
    state.remember(grid.codes(name, node, order=source.order, start=source.node, skip=derived.skip))
    return _write_pools(state, node, derived, grid, name)


def _write_pools(state: Lowering, node: fx.Node, derived: Derived, grid: Grid, name: str) -> Codes:
    for pool in derived.pools:
        is_last = pool is derived.pools[-1]
        output = state.name(node) if is_last else state.name(node, "pooled")
        name = state.write(MaxPool2d((name,), output, state.path(pool), **window(state, pool)))
        if not is_last:
            skip = derived.moves.union(derived.pools[derived.pools.index(pool) + 1 :])
            order = channels_last(shape_of(pool))
            state.remember(grid.codes(name, node, order=order, start=derived.source.node, skip=skip))
    return state.remember(grid.codes(name, node, order=derived.order))


def _check_pool(
    state: Lowering, derived: Derived, pool: fx.Node, ladders: NDArray[np.int32], flips: NDArray[np.bool_]
) -> None:
    """Refuse a pooling before a function that does not rise with what is pooled.

    Where both what is pooled and the code only rise with the sum, or both only fall, the code never falls where what is
    pooled rises; so the greatest code is the code of the greatest.
    """
    before = Derived(derived.source, pool.all_input_nodes[0], pools=derived.pools, moves=derived.moves)
    constant = ((ladders == ALWAYS) | (ladders == NEVER)).all(axis=1)
    sums = derived.source.codes
    rows = np.arange(len(sums))
    if len(rows) * len(flips) > EXHAUSTIVE:
        rows = np.unique(np.linspace(0, len(rows) - 1, _SAMPLES).round().astype(np.int64))
    previous = None
    for part in np.array_split(rows, max(1, len(rows) * len(flips) // 2**22)):
        candidates = np.repeat((sums.start + sums.step * part)[:, None], len(flips), axis=1)
        reals = state.evaluate(before, candidates)
        if (np.isnan(reals).any(axis=0) & ~np.isnan(reals).all(axis=0)).any():
            raise NotMonotonicError("some sums give NaN before the max pooling")
        joined = reals if previous is None else np.concatenate([previous, reals])
        with np.errstate(invalid="ignore"):
            against = np.where(flips, np.diff(joined, axis=0) > 0, np.diff(joined, axis=0) < 0).any(axis=0)
        if (against & ~constant).any():
            channel = int(np.argmax(against & ~constant))
            raise NotMonotonicError(f"channel {channel} falls where the values of the max pooling before it rise")
        previous = reals[-1:]
