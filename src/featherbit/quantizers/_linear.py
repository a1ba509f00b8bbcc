"""Linear (fixed-point) quantization to k bits: signed in [-1, 1), unsigned in [0, 1).

Both have a step that is a power of two, so every value is exact in float32 and a layer's sums are, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..bits import BitFormat
from ..errors import InputError
from ._clipped import pass_between
from ._estimators import Estimator
from ._quantizer import Quantizer
from ._rounding import stochastic_round


@torch.library.custom_op("featherbit::linear_quant", mutates_args=(), schema="(Tensor x, int bits) -> Tensor")
def linear_quant(x: Tensor, bits: int) -> Tensor:
    """Round to a k-bit fixed-point number in [-1, 1), ties to even; NaN stays NaN.

    The numbers are the multiples of `2^-(bits-1)` from -1 to `1 - 2^-(bits-1)`. The gradient passes where `|x| <= 1`.

    Args:
        x: any shape, floating point.
        bits: 2 to 8.

    Returns:
        Same shape and dtype, `2^bits` possible values.

    >>> linear_quant(torch.tensor([-3.0, 0.125, 0.375, 1.0]), 3).tolist()
    [-1.0, 0.0, 0.5, 0.75]
    """
    half = 2.0 ** (bits - 1)
    return x.mul(half).round_().clamp_(-half, half - 1).div_(half)


@torch.library.custom_op("featherbit::unsigned_quant", mutates_args=(), schema="(Tensor x, int bits) -> Tensor")
def unsigned_quant(x: Tensor, bits: int) -> Tensor:
    """Round to a k-bit fixed-point number in [0, 1), ties to even; NaN stays NaN.

    The numbers are the multiples of `2^-bits` from 0 to `1 - 2^-bits`. The gradient passes where `0 <= x <= 1`.

    Args:
        x: any shape, floating point.
        bits: 1 to 8.

    Returns:
        Same shape and dtype, `2^bits` possible values.

    >>> unsigned_quant(torch.tensor([-0.5, 0.125, 0.375, 1.0]), 2).tolist()
    [0.0, 0.0, 0.5, 0.75]
    """
    whole = 2.0**bits
    return x.mul(whole).round_().clamp_(0.0, whole - 1).div_(whole)


def _fake(x: Tensor, bits: int) -> Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


def _signed_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return pass_between(gradient, ctx.saved_tensors[0], -1.0, 1.0), None


def _unsigned_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return pass_between(gradient, ctx.saved_tensors[0], 0.0, 1.0), None


for _operator, _backward in ((linear_quant, _signed_backward), (unsigned_quant, _unsigned_backward)):
    _operator.register_fake(_fake)
    _operator.register_autograd(_backward, setup_context=_setup)


@dataclass(frozen=True)
class Clipped(Estimator):
    """The gradient of clipping to a range, for quantizers that round and clip.

    Backward: `g * 1[low <= x <= high]`.

    Args:
        low: lower end of the range, inclusive.
        high: upper end, inclusive.

    Raises:
        InputError: an empty range.

    Source: the straight-through estimator, with the quantizer's own range as its window.

    >>> Clipped(0.0, 1.0).pass_back(torch.ones(3), torch.tensor([-0.1, 0.5, 1.5])).tolist()
    [0.0, 1.0, 0.0]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"low must be below high, got {self.low!r} and {self.high!r}")

    def pass_back(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient inside the range, zero outside."""
        return pass_between(gradient, x, self.low, self.high)


class LinearQuant(Quantizer):
    """Quantize to a k-bit fixed-point number in [-1, 1), weights or activations.

    Forward: `clip(round(x * 2^(k-1)) / 2^(k-1), -1, 1 - 2^-(k-1))`, ties to even. Stochastic rounding is for training;
    in eval mode it is to the nearest.
    Backward: the straight-through estimator, zero where `|x| > 1`.

    Args:
        bits: k, 2 to 8; one bit is `Sign`.
        estimator: gives another gradient.
        rounding: `"nearest"`, or `"stochastic"`: as `stochastic_round`.

    Raises:
        InputError: bits out of range or an unknown rounding.

    Source: the paper's section 1, LinearQuant.
    Differs: the printed formula multiplies and divides the other way round, which maps every |x| < 1 to 0.

    >>> LinearQuant(2)(torch.tensor([-2.0, 0.3, 0.9])).tolist()
    [-1.0, 0.5, 0.5]
    """

    latent_bound = 1.0

    def __init__(
        self,
        bits: int,
        *,
        estimator: Estimator | None = None,
        rounding: Literal["nearest", "stochastic"] = "nearest",
    ) -> None:
        super().__init__(Clipped(-1.0, 1.0) if estimator is None else estimator)
        if rounding not in ("nearest", "stochastic"):
            raise InputError(f"rounding must be 'nearest' or 'stochastic', got {rounding!r}")
        self.bits = checked_bits("LinearQuant", bits, 2)
        self.rounding = rounding
        self.format = BitFormat(bits, "twos_complement", scale=2.0 ** (1 - bits))

    def rule(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element."""
        if self.rounding == "stochastic" and self.training:
            half = 2.0 ** (self.bits - 1)
            return stochastic_round(x.mul(half)).clamp_(-half, half - 1).div_(half)
        quantized: Tensor = linear_quant(x, self.bits)
        return quantized

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"bits={self.bits}"


class UnsignedQuant(Quantizer):
    """Quantize to a k-bit fixed-point number in [0, 1): activations after a ReLU.

    Forward: `clip(round(x * 2^k) / 2^k, 0, 1 - 2^-k)`, ties to even; negative values become 0, so the ReLU may be left
    out. Backward: the straight-through estimator, zero outside [0, 1].

    Args:
        bits: k, 1 to 8.
        estimator: gives another gradient.

    Raises:
        InputError: bits out of range.

    Source: the paper's section 1, LinearQuant, on the half of its range that a ReLU leaves.

    >>> UnsignedQuant(2)(torch.tensor([-2.0, 0.3, 0.9])).tolist()
    [0.0, 0.25, 0.75]
    """

    def __init__(self, bits: int, *, estimator: Estimator | None = None) -> None:
        super().__init__(Clipped(0.0, 1.0) if estimator is None else estimator)
        self.bits = checked_bits("UnsignedQuant", bits, 1)
        self.format = BitFormat(bits, "unsigned", scale=2.0**-bits)

    def rule(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element."""
        quantized: Tensor = unsigned_quant(x, self.bits)
        return quantized

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"bits={self.bits}"


def checked_bits(name: str, bits: int, least: int) -> int:
    """Return `bits` if it is a whole number from `least` to 8.

    Raises:
        InputError: it is not.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not least <= bits <= 8:
        hint = "; use Sign for 1 bit" if least == 2 else ""
        raise InputError(f"{name} takes {least} to 8 bits, got {bits!r}{hint}")
    return bits
