"""Fold what stands between the last integer sum and the output into one multiplication and one addition, exactly.

The output's batch norm computes `sum * multiplier + addend` in float32, with one rounding or two as the torch build
has it. The addend is what the captured operators give for a sum of zero, the multiplier what they give for a sum of
one without the shift; which rounding it was is found by comparing both with the operators on every possible sum (or a
large sample).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from ..ir import Affine, reference
from ._capture import Capture, evaluate
from ._values import Codes

_SAMPLES = 4096
aten = torch.ops.aten


class NotAffineError(Exception):
    """The output is not `sum * multiplier + addend` in a known rounding."""


@dataclass(frozen=True)
class Scaling:
    """`float32(sum) * multiplier + addend`, rounded once if fused."""

    multiplier: NDArray[np.float32]
    addend: NDArray[np.float32]
    fused: bool


def find_scaling(captured: Capture, source: Codes, output: fx.Node, channels: int) -> Scaling:
    """Return the multiplier and addend of each channel of an output.

    Args:
        captured: the model.
        source: the integer sums.
        output: the captured node computed from them.
        channels: N.

    Raises:
        NotAffineError: no multiplication and addition gives what torch gives.
    """
    multiplier = _multiplier(captured, source, output, channels) * np.float32(source.scale)
    addend = _at(captured, source, output, np.zeros((1, channels), dtype=np.int64))[0]
    step = max(1, len(source.codes) // _SAMPLES)
    sums = np.unique(np.concatenate([source.codes[::step], source.codes[-1:], source.codes[:1]]))
    sums = np.repeat(sums[:, None], channels, axis=1)  # [R, N]
    expected = _at(captured, source, output, sums)
    for fused in (False, True):
        op = Affine(("sum",), "y", multiplier=multiplier, addend=addend, fused=fused)
        if _equal(reference.RULES[Affine](op, sums.astype(np.int32)), expected):
            return Scaling(multiplier, addend, fused)
    raise NotAffineError("no multiplication and addition with one rounding or two gives what torch computes")


def _at(captured: Capture, source: Codes, output: fx.Node, sums: NDArray[np.int64]) -> NDArray[np.float32]:
    reals = torch.from_numpy((sums * source.scale).astype(np.float32))
    values: NDArray[np.float32] = evaluate(captured, {source.node: reals}, [output])[output].numpy()
    return values


def _multiplier(captured: Capture, source: Codes, output: fx.Node, channels: int) -> NDArray[np.float32]:
    """Follow the operators from the sum to the output; all but one batch norm must leave the scale alone."""
    node, slope = output, np.ones(channels, dtype=np.float32)
    while node is not source.node:
        if node.target is aten.batch_norm.default:
            slope = slope * _norm_slope(captured, node, channels)
        elif node.target not in (aten.add.Tensor, aten.sub.Tensor, aten.dropout.default):
            raise NotAffineError(f"{node.target} after the last product is neither a batch norm nor a bias")
        (node,) = (argument for argument in node.all_input_nodes if _depends(argument, source.node))
    return slope


def _depends(node: fx.Node, source: fx.Node) -> bool:
    return node is source or any(_depends(argument, source) for argument in node.all_input_nodes)


def _norm_slope(captured: Capture, node: fx.Node, channels: int) -> NDArray[np.float32]:
    """Run the batch norm itself without its shift: mean and bias zero, at one."""
    parameters = [argument for argument in node.all_input_nodes if argument is not node.args[0]]
    values = evaluate(captured, {}, parameters)
    args: list[Any] = [values.get(a) if isinstance(a, fx.Node) else a for a in node.args]
    zero = torch.zeros(channels)
    args[0], args[2], args[3] = torch.ones(1, channels), zero, zero
    with torch.no_grad():
        slope: Tensor = aten.batch_norm.default(*args)
    numbers: NDArray[np.float32] = slope[0].numpy()
    return numbers


def _equal(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    return bool(np.all((a.view(np.int32) == b.view(np.int32)) | (np.isnan(a) & np.isnan(b))))
