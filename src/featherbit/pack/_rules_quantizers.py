"""Lowering of quantizers: of real numbers as they are, of functions of a sum into thresholds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from ..bits import pack_unsigned
from ..errors import PackError
from ..ir import Clamp, Embedding, PackSign, QuantizeLinear
from ._capture import evaluate
from ._fold import fold
from ._grids import GRIDS, Grid
from ._lowering import Lowering, lowers, shape_of
from ._threshold import NotMonotonicError
from ._values import Codes, Derived, Real, Rows, Value, describe


@lowers(*GRIDS)
def _quantize(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    value, grid = inputs[0], GRIDS[node.target](state, node)
    _check_grid(state, node, grid)
    if isinstance(value, Rows):
        return _quantize_rows(state, node, value, grid)
    if not isinstance(value, Real | Codes | Derived):
        raise state.refuse(node, f"{describe(value)} cannot be quantized")
    if isinstance(value, Real):
        return _quantize_real(state, node, value, grid)
    source = value if isinstance(value, Codes) else value.source
    if source.is_sum:
        derived = Derived(value, value.node, value.order) if isinstance(value, Codes) else value
        try:
            return fold(state, node, derived, grid)
        except NotMonotonicError as error:
            return _without_thresholds(state, node, derived, grid, error)
    same = _unchanged(state, node, value)
    return same if same is not None else _quantize_real(state, node, state.as_real(value, node), grid)


def _quantize_rows(state: Lowering, node: fx.Node, value: Rows, grid: Grid) -> Codes:
    """Quantize the whole table of an embedding, by the captured operators themselves."""
    given = {**state.constants(), value.embedding: value.table}
    reals = evaluate(state.captured, given, [node])[node].numpy()
    try:
        levels = grid.levels(reals)  # [tokens, E]
    except NotMonotonicError as error:
        raise state.refuse(node, "an embedding holds NaN, which has no code") from error
    op = Embedding(
        (value.source,),
        state.name(node),
        state.path(node),
        features=levels.shape[1],
        bits=grid.bits,
        sign=grid.is_sign,
        codes=_planes(levels, grid.bits),
    )
    return state.remember(grid.codes(state.write(op), node))


def _planes(codes: NDArray[np.int64], bits: int) -> NDArray[np.uint64]:
    """Return codes `[tokens, E]` as bit-planes of all rows, one plane after the other."""
    planes = pack_unsigned(codes, bits).transpose(1, 0, 2)  # [bits, tokens, W]
    return np.ascontiguousarray(planes).reshape(bits * len(codes), -1)


def _without_thresholds(state: Lowering, node: fx.Node, value: Derived, grid: Grid, error: NotMonotonicError) -> Codes:
    """Quantize real numbers where a learned slope is negative; refuse what else has no thresholds.

    Raises:
        PackError: no threshold, and no slope to blame.
    """
    if not _passes_prelu(value.node, value.source.node):
        reason = f"what stands between the product and the quantizer cannot be a threshold: {error}"
        raise state.refuse(node, reason) from error
    return _quantize_real(state, node, state.as_real(value, node), grid)


def _passes_prelu(node: fx.Node, source: fx.Node) -> bool:
    if node is source:
        return False
    return node.target is torch.ops.aten.prelu.default or any(_passes_prelu(n, source) for n in node.all_input_nodes)


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
    if grid.has_gaps:
        raise state.refuse(node, "powers of two of real numbers have no packed form; put it after a product and a norm")
    if grid.is_sign:
        return state.remember(
            grid.codes(state.write(PackSign((value.name,), state.name(node), path)), node, order=order)
        )
    source = value.name
    if grid.high < grid.low + 2**grid.bits - 1:  # a code of these bits is not used
        highest = float(np.float32(grid.high) * np.float32(grid.step))
        source = state.write(Clamp((source,), state.name(node, "clamped"), path, low=-math.inf, high=highest))
        state.remember(replace(value, name=source, highest=highest))
    name = state.write(QuantizeLinear((source,), state.name(node), path, bits=grid.bits, step=grid.step, low=grid.low))
    return state.remember(grid.codes(name, node, order=order))
