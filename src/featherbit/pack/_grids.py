"""What numbers each quantizer gives, and the code of each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from .. import quantizers as quantizers  # registers the operators of torch.ops.featherbit
from ._lowering import Lowering
from ._rules_products import SIGNS
from ._threshold import NotMonotonicError
from ._values import Codes, Constant

featherbit_ops = torch.ops.featherbit


@dataclass(frozen=True)
class Grid:
    """The numbers that a quantizer gives.

    They are `scale * (low ... high)`, or some of these, or -1 and +1.

    Args:
        low: the least integer.
        high: the greatest.
        scale: a power of two.
        step: what the input is divided by before it is rounded.
        is_sign: the numbers are -1 and +1.
        has_gaps: not every integer occurs, so that no division and rounding gives the codes.
    """

    low: int
    high: int
    scale: float
    step: float
    is_sign: bool = False
    has_gaps: bool = False

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return 1 if self.is_sign else max(1, (self.high - self.low).bit_length())

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


def _log_grid(state: Lowering, node: fx.Node) -> Grid:
    least, largest = node.args[1:3]
    assert isinstance(least, int)
    assert isinstance(largest, int)
    most = 2 ** (largest - least)  # powers of two are whole multiples of the least
    return Grid(-most, most, 2.0**least, 2.0**least, has_gaps=True)


GRIDS: dict[object, Callable[[Lowering, fx.Node], Grid]] = {
    featherbit_ops.sign.default: _sign_grid,
    featherbit_ops.linear_quant.default: _linear_grid,
    featherbit_ops.unsigned_quant.default: _unsigned_grid,
    featherbit_ops.round_codes.default: _rounded_grid,
    featherbit_ops.log_quant.default: _log_grid,
}
"""For each quantizing operator, what finds its grid."""
