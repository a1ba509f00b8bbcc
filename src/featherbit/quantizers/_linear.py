"""Linear (fixed-point) quantization to k bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..bits import BitFormat
from ..errors import InputError
from ._estimators import straight_through

_WINDOW = 1.0  # outside [-1, 1] the value is clipped, so nothing passes back


@torch.library.custom_op("featherbit::linear_quant", mutates_args=(), schema="(Tensor x, int bits) -> Tensor")
def linear_quant(x: Tensor, bits: int) -> Tensor:
    """Round to a k-bit fixed-point number in [-1, 1), ties to even; NaN stays NaN.

    The numbers are the multiples of `2^-(bits-1)` from -1 to `1 - 2^-(bits-1)`.

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


@linear_quant.register_fake
def _fake(x: Tensor, bits: int) -> Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return straight_through(gradient, ctx.saved_tensors[0], _WINDOW), None


linear_quant.register_autograd(_backward, setup_context=_setup)


class LinearQuant(nn.Module):
    """Quantize to a k-bit fixed-point number in [-1, 1).

    Forward: `clip(round(x * 2^(k-1)) / 2^(k-1), -1, 1 - 2^-(k-1))`, ties to even.
    Backward: the straight-through estimator, zero where `|x| > 1`.

    Args:
        bits: k, 2 to 8; one bit is `Sign`.

    Raises:
        InputError: bits out of range.

    Source: the paper's section 1, LinearQuant.
    Differs: the printed formula multiplies and divides the other way round, which maps every |x| < 1 to 0.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
            raise InputError(f"LinearQuant takes 2 to 8 bits, got {bits!r}; use Sign for 1 bit")
        self.bits = bits
        self.format = BitFormat(bits, "twos_complement", scale=2.0 ** (1 - bits))

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element."""
        quantized: Tensor = linear_quant(x, self.bits)
        return quantized

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"bits={self.bits}"
