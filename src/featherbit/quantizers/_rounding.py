"""Rounding: to a power of two (AP2), and to an integer at random.

A power of two differs from its neighbor in the exponent bits of a float only, so AP2 is one integer addition and one
mask: adding `2^m - mantissa` of some limit to the bits carries into the exponent where the mantissa is at or above the
limit, and masking the mantissa leaves the power of two. The carry tells the kinds of rounding apart; a random one makes
an unbiased rounding. Logarithm, rounding and power were rejected: they are not exact near the limit, and slower.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..errors import InputError

PowerRounding = Literal["nearest", "floor", "ceil", "stochastic"]
POWER_ROUNDINGS: tuple[PowerRounding, ...] = get_args(PowerRounding)

_LAYOUTS = {torch.float32: (torch.int32, 23), torch.float64: (torch.int64, 52)}  # bits as integers, mantissa bits
# 2^m times the fraction of sqrt(2): the largest mantissa that rounds down, for sqrt(2) is irrational and no tie occurs.
_SQRT2 = {23: 0x3504F3, 52: 0x6A09E667F3BCC}


def ap2(x: Tensor, rounding: PowerRounding = "nearest") -> Tensor:
    """Return the approximate power of two of each element, with its sign.

    Forward: `sign(x) * 2^round(log2 |x|)`; zero stays zero; an infinity or NaN becomes NaN.
    Backward: the gradient as it comes.

    Magnitudes below the smallest normal number (`2^-126` in float32) become zero or that number; those that round to
    `2^128` become infinite.

    Args:
        x: any shape, floating point.
        rounding: of the exponent: `"nearest"`; `"floor"`, the most significant bit; `"ceil"`; or `"stochastic"`, one of
            both neighbors at random (torch's global generator) so that the mean is `x`.

    Returns:
        Same shape and dtype, zero and powers of two of either sign.

    Raises:
        InputError: an unknown rounding.

    Source: the paper's section 1, AP2.
    Differs: the paper calls it the index of the most significant bit, which is the floor; round is the default.

    >>> ap2(torch.tensor([3.0, -0.7, 0.0, 1.4, 1.5])).tolist()
    [4.0, -0.5, 0.0, 1.0, 2.0]
    >>> ap2(torch.tensor([3.0, -0.7]), "floor").tolist()
    [2.0, -0.5]
    """
    if rounding not in POWER_ROUNDINGS:
        raise InputError(f"unknown rounding {rounding!r}; use one of {', '.join(POWER_ROUNDINGS)}")
    power: Tensor = _ap2(x, rounding)
    return power


@torch.library.custom_op("featherbit::ap2", mutates_args=(), schema="(Tensor x, str rounding) -> Tensor")
def _ap2(x: Tensor, rounding: PowerRounding) -> Tensor:
    wide = x if x.dtype in _LAYOUTS else x.float()
    integers, mantissa_bits = _LAYOUTS[wide.dtype]
    bits = wide.view(integers)
    bits = bits.add(_carry(rounding, bits, mantissa_bits)).bitwise_and_(-1 << mantissa_bits)
    return bits.view(wide.dtype).add_(wide.mul(0.0)).to(x.dtype)  # the zero carries NaN along


def _carry(rounding: PowerRounding, bits: Tensor, mantissa_bits: int) -> int | Tensor:
    if rounding == "stochastic":
        return torch.randint_like(bits, 1 << mantissa_bits)
    limits = {"floor": 1 << mantissa_bits, "nearest": _SQRT2[mantissa_bits] + 1, "ceil": 1}
    return (1 << mantissa_bits) - limits[rounding]


@_ap2.register_fake
def _fake(x: Tensor, rounding: PowerRounding) -> Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: tuple[Tensor, str], output: Tensor) -> None:
    """Keep nothing."""


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return gradient, None


_ap2.register_autograd(_backward, setup_context=_setup)


def stochastic_round(x: Tensor) -> Tensor:
    """Round each element to one of both neighboring integers, so that the mean is `x`.

    Forward: `floor(x) + 1` with probability `x - floor(x)`, else `floor(x)`. Not differentiable: give it to an
    estimator, or call it in the forward part of a rule.

    Args:
        x: any shape, floating point.

    Returns:
        Same shape and dtype, integers, drawn from torch's global generator. An integer, an infinity or a NaN stays.

    >>> _ = torch.manual_seed(0)
    >>> stochastic_round(torch.tensor([2.0, -1.0])).tolist()
    [2.0, -1.0]
    >>> stochastic_round(torch.full((8000,), 0.25)).mean().mul(10).floor().item()
    2.0
    """
    floor = x.floor()
    uniform = torch.rand_like(x)  # [0, 1), so that an integer, whose fraction is 0, never moves
    return floor.add_(torch.lt(uniform, x - floor, out=uniform))
