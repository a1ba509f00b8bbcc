"""Logarithmic quantization to k bits: a sign, and a power of two or zero."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..bits import BitFormat
from ..errors import InputError
from ._estimators import Estimator, StraightThrough
from ._quantizer import Quantizer
from ._rounding import POWER_ROUNDINGS, PowerRounding, ap2

Underflow = Literal["smallest", "zero", "stochastic"]
UNDERFLOWS: tuple[Underflow, ...] = get_args(Underflow)

_LEAST_EXPONENT, _LARGEST_EXPONENT = -126, 127  # of normal float32 numbers


def log_quant(x: Tensor, min_exponent: int, max_exponent: int, rounding: PowerRounding, underflow: Underflow) -> Tensor:
    """Round to zero or a power of two in a range of exponents, with the sign of `x`.

    Backward: none; `LogQuant` gives it an estimator's.

    Args:
        x: any shape, floating point.
        min_exponent: of the smallest magnitude but zero, -126 or more.
        max_exponent: of the largest, at least `min_exponent`, at most 127.
        rounding: of the exponent, as in `ap2`.
        underflow: what becomes of magnitudes below the smallest: `"smallest"` takes them as that, `"zero"` as zero if
            their power of two is below it, `"stochastic"` as one of both at random so that the mean is `x`.

    Returns:
        Same shape and dtype. Zero stays zero, NaN stays NaN.

    >>> log_quant(torch.tensor([3.0, -0.7, 0.1, 0.0]), -2, 0, "nearest", "smallest").tolist()
    [1.0, -0.5, 0.25, 0.0]
    >>> log_quant(torch.tensor([3.0, -0.7, 0.1, 0.2]), -2, 0, "nearest", "zero").tolist()
    [1.0, -0.5, 0.0, 0.25]
    """
    quantized: Tensor = _log_quant(x, min_exponent, max_exponent, rounding, underflow)
    return quantized


@torch.library.custom_op(
    "featherbit::log_quant",
    mutates_args=(),
    schema="(Tensor x, int min_exponent, int max_exponent, str rounding, str underflow) -> Tensor",
)
def _log_quant(
    x: Tensor, min_exponent: int, max_exponent: int, rounding: PowerRounding, underflow: Underflow
) -> Tensor:
    smallest, largest = 2.0**min_exponent, 2.0**max_exponent
    wide = x if x.dtype == torch.float64 else x.float()
    bounded = wide.clamp(-largest, largest)
    if underflow == "stochastic":
        bounded = _raise_some(bounded, smallest)
    power = ap2(bounded, rounding)
    magnitude = power.abs()
    if underflow == "smallest":
        power.sign_().mul_(magnitude.clamp_(min=smallest))  # zero stays zero, and a product with NaN is NaN
    else:
        power.mul_(torch.ge(magnitude, smallest, out=magnitude))
    return power.to(x.dtype)


def _raise_some(x: Tensor, smallest: float) -> Tensor:
    """Make magnitudes below the smallest that or zero, so that the mean stays."""
    below = torch.rand_like(x).mul_(smallest).lt(x.abs()).to(x.dtype).mul_(smallest).copysign_(x)
    return torch.where(x.abs() < smallest, below, x)


@_log_quant.register_fake
def _fake(x: Tensor, min_exponent: int, max_exponent: int, rounding: PowerRounding, underflow: Underflow) -> Tensor:
    return torch.empty_like(x)


class LogQuant(Quantizer):
    """Quantize to a sign and a power of two, or zero.

    Forward: `clip(AP2(x), -2^max_exponent, 2^max_exponent)`, with `2^(k-1) - 1` exponents up to `max_exponent`; zero
    stays zero. In eval mode a stochastic rounding is `"nearest"` and a stochastic underflow `"zero"`.
    Backward: the straight-through estimator, zero where `|x| > 2^max_exponent`, or another estimator.

    Args:
        bits: k, 2 to 8: one of the sign, the rest of the exponent's code, whose 0 means zero; one bit is `Sign`.
        max_exponent: of the largest magnitude; the smallest is `2^(max_exponent - 2^(k-1) + 2)`, which must be a normal
            float32 number, at least `2^-126`.
        rounding: of the exponent: `"nearest"`, `"floor"`, `"ceil"` or `"stochastic"`, as in `ap2`.
        underflow: what becomes of smaller magnitudes: `"smallest"`, `"zero"` or `"stochastic"`, as in `log_quant`.
        estimator: gives the gradient instead of the straight-through estimator.

    Raises:
        InputError: bits, exponents, rounding or underflow out of range.

    Source: the paper's section 1, LogQuant. Stochastic rounding with stochastic underflow is unbiased, as in Chmiel et
    al., Logarithmic Unbiased Quantization (arXiv 2112.10769).
    Differs: the paper gives no range of exponents, so it is a parameter; so is what happens below it.

    >>> LogQuant(3)(torch.tensor([-1.0, 0.6, 0.3, 0.01, 0.0])).tolist()
    [-1.0, 0.5, 0.25, 0.25, 0.0]
    >>> LogQuant(3).format.values().tolist()
    [0.0, 0.25, 0.5, 1.0, -0.0, -0.25, -0.5, -1.0]
    """

    def __init__(
        self,
        bits: int,
        *,
        max_exponent: int = 0,
        rounding: PowerRounding = "nearest",
        underflow: Underflow = "smallest",
        estimator: Estimator | None = None,
    ) -> None:
        _check(bits, max_exponent, rounding, underflow)
        super().__init__(StraightThrough(2.0**max_exponent) if estimator is None else estimator)
        self.bits, self.max_exponent = bits, max_exponent
        self.min_exponent = _min_exponent(bits, max_exponent)
        self.rounding, self.underflow = rounding, underflow
        self.format = BitFormat(bits, "power_of_two", scale=2.0**self.min_exponent)
        self.latent_bound = 2.0**max_exponent  # as a weight quantizer: its latent weights are clipped to this

    def rule(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element."""
        rounding, underflow = self.rounding, self.underflow
        if not self.training:
            rounding = "nearest" if rounding == "stochastic" else rounding
            underflow = "zero" if underflow == "stochastic" else underflow
        quantized: Tensor = log_quant(x, self.min_exponent, self.max_exponent, rounding, underflow)
        return quantized

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        exponents = f"exponents={self.min_exponent}..{self.max_exponent}"
        return f"bits={self.bits}, {exponents}, rounding={self.rounding}, underflow={self.underflow}"


def _min_exponent(bits: int, max_exponent: int) -> int:
    return max_exponent + 2 - (1 << (bits - 1))


def _check(bits: int, max_exponent: int, rounding: str, underflow: str) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
        raise InputError(f"LogQuant takes 2 to 8 bits, got {bits!r}; use Sign for 1 bit")
    if _min_exponent(bits, max_exponent) < _LEAST_EXPONENT or max_exponent > _LARGEST_EXPONENT:
        least = _LEAST_EXPONENT + 2 ** (bits - 1) - 2
        raise InputError(f"with {bits} bits max_exponent is {least} to {_LARGEST_EXPONENT}, got {max_exponent!r}")
    if rounding not in POWER_ROUNDINGS:
        raise InputError(f"unknown rounding {rounding!r}; use one of {', '.join(POWER_ROUNDINGS)}")
    if underflow not in UNDERFLOWS:
        raise InputError(f"unknown underflow {underflow!r}; use one of {', '.join(UNDERFLOWS)}")
