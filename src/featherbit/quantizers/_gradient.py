"""`GradientQuant`: any quantizer, on gradients, whose size is not known beforehand.

Gradients are far smaller than 1 and shrink while training, so a quantizer with a fixed range needs a scale found anew
each time. The scale is a power of two by default: dividing by it is exact, the result of a few bits stays exact in
bfloat16, and hardware needs a shift only.

Most gradients are far below the largest, so what becomes of those below a logarithmic quantizer's smallest number
decides: raised to it, as the printed formula has it, they drown the rest at 2 to 4 bits; taken as zero they do no harm
from 4 bits on; taken at random as zero or that number (`underflow="stochastic"`) none from 3 bits on.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import InputError
from ._log import LogQuant
from ._rounding import ap2

ScaledBy = Literal["tensor", "sample"]


class GradientQuant(nn.Module):
    """Quantize a gradient relative to its largest magnitude.

    Forward: `s * quantizer(g / s)`, `s` the least power of two that no `|g|` exceeds, of the whole tensor or of each
    sample. A gradient of zeros stays; one that is not finite becomes NaN where its scale reaches.
    Backward: none; gradients of gradients are not supported.

    Args:
        quantizer: for numbers in [-1, 1]; by default `LogQuant(6, underflow="zero")`, 31 powers
            of two and zero.
        per: `"tensor"`: one scale; `"sample"`: one for each index of the first dimension.
        exact: whether `s` is the largest magnitude itself rather than a power of two.

    Raises:
        InputError: an unknown `per`.

    Source: the paper's section 1, k-bit quantizers: gradients were quantized logarithmically, with 6 bits on ImageNet.
    Differs: the paper gives no scale; one per sample is DoReFa's (Zhou et al., arXiv 1606.06160).

    >>> GradientQuant(LogQuant(3))(torch.tensor([3.0, 0.9, -0.5, 0.0])).tolist()
    [4.0, 1.0, -1.0, 0.0]
    """

    def __init__(self, quantizer: nn.Module | None = None, *, per: ScaledBy = "tensor", exact: bool = False) -> None:
        super().__init__()
        if per not in ("tensor", "sample"):
            raise InputError(f"per must be 'tensor' or 'sample', got {per!r}")
        self.quantizer = LogQuant(6, underflow="zero") if quantizer is None else quantizer
        self.per = per
        self.exact = exact

    def scale(self, gradient: Tensor) -> Tensor:
        """Return the scale: `[]`, or `[B, 1, ...]` per sample; zero where all is zero.

        Args:
            gradient: `[B, ...]`, floating point.
        """
        if gradient.numel() == 0:
            return gradient.new_zeros(())
        largest = gradient.abs().amax() if self.per == "tensor" else _largest_per_sample(gradient)
        scale: Tensor = largest if self.exact else ap2(largest, "ceil")
        return scale

    @torch.no_grad()
    def forward(self, gradient: Tensor) -> Tensor:
        """Return the quantized gradient, same shape and dtype.

        Args:
            gradient: `[B, ...]`, floating point.
        """
        scale = self.scale(gradient)
        relative = gradient / torch.where(scale == 0, 1.0, scale)
        quantized: Tensor = self.quantizer(relative)
        return quantized * scale

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"per={self.per}" + (", exact" if self.exact else "")


def _largest_per_sample(gradient: Tensor) -> Tensor:
    samples = len(gradient)
    largest = gradient.abs().reshape(samples, -1).amax(1)  # [B]
    return largest.view(samples, *[1] * (gradient.ndim - 1))  # [B, 1, ...]
