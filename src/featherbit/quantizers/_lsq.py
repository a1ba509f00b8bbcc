"""`Lsq`: a quantizer that learns its step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..bits import BitFormat
from ..errors import InputError
from ._codes import round_codes
from ._linear import checked_bits

_LEAST_STEP = 2.0**-24  # a step that shrinks to zero or turns negative would divide by it
_MEAN_ABSOLUTE = math.sqrt(2.0 / math.pi)  # of a standard normal number, which a batch norm hands on


class Lsq(nn.Module):
    """Quantize to k-bit integers times a step that is learned with the weights.

    Forward: `codes(x) * scale`, `codes(x) = clamp(round(x / scale), low, high)`, ties to even.
    Backward: for x, the gradient where the code is inside its range; for the step, `codes - x / scale` inside and
    `codes` outside, times `1 / sqrt(n * high)` for the n values of a tensor that share a step (of one example, for
    activations).

    Args:
        bits: k, 1 to 8; at least 2 if signed.
        signed: whether codes go from `-2^(k-1)` to `2^(k-1) - 1`, for weights; else from 0 to `2^k - 1`, for
            activations after a ReLU.
        channels: one step for each of so many first-dimension slices, for weights; `None` is one step for all.
        narrow: whether a signed range leaves out its lowest code; 2 bits then are ternary with a learned scale.
        first_step: where an activation's step starts, > 0; by default where it suits a standard normal input.

    Attributes:
        step: the learned parameter, `[]` or `[channels]`.
        low, high: the range of codes.

    Raises:
        InputError: bits out of range, an unsigned range that is narrow or per channel, or a step that is not positive.

    Source: Esser et al., Learned Step Size Quantization (arXiv 1902.08153).
    Differs: an activation's first step is that for a standard normal input or a given one, not for the first batch.

    >>> quantizer = Lsq(2, signed=False)
    >>> _ = torch.nn.init.constant_(quantizer.step, 0.5)
    >>> quantizer(torch.tensor([-1.0, 0.6, 9.0])).tolist(), quantizer.codes(torch.tensor([0.6])).tolist()
    ([0.0, 0.5, 1.5], [1.0])
    """

    def __init__(
        self,
        bits: int,
        *,
        signed: bool = True,
        channels: int | None = None,
        narrow: bool = False,
        first_step: float | None = None,
    ) -> None:
        super().__init__()
        if first_step is not None and not first_step > 0:
            raise InputError(f"first_step must be positive, got {first_step!r}")
        if not signed and (narrow or channels is not None):
            raise InputError("an unsigned range is for activations, which have one step and no narrow range")
        self.bits = checked_bits("a signed Lsq" if signed else "Lsq", bits, 2 if signed else 1)
        self.low = -(2 ** (bits - 1)) + narrow if signed else 0
        self.high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        self.format = BitFormat(bits, "twos_complement" if signed else "unsigned")
        self.step = nn.Parameter(torch.empty(() if channels is None else channels))
        nn.init.constant_(self.step, first_step or 2.0 * _MEAN_ABSOLUTE / math.sqrt(self.high))
        self._sharing = 1  # values that share a step, as seen last in training

    def reset_latent(self, weight: Tensor) -> None:
        """Draw a weight as torch's own layers do, and fit the step to it.

        Args:
            weight: `[out, in, *kernel]`, changed in place.

        Source: the same paper, section 2.1: `2 * mean(|w|) / sqrt(high)`.
        """
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        rows = weight.detach().abs().reshape(len(weight) if self.step.ndim else 1, -1)  # [steps, n]
        with torch.no_grad():
            self.step.copy_((2.0 / math.sqrt(self.high)) * rows.mean(dim=1).view(self.step.shape))

    @property
    def scale(self) -> Tensor:
        """The step in use, float `[]` or `[channels]`, > 0; its gradient is scaled."""
        step = self.step.abs().clamp_min(_LEAST_STEP)
        if self.training and torch.is_grad_enabled():
            factor = 1.0 / math.sqrt(self._sharing * self.high)
            step = _ScaledGradient.apply(step, factor)  # type: ignore[no-untyped-call]
        return step

    def codes(self, x: Tensor) -> Tensor:
        """Return the integer code of each element, in the dtype of `x`."""
        if self.training:
            self._sharing = max(1, x[0].numel() if len(x) and (self.step.ndim or self.low == 0) else x.numel())
        codes: Tensor = round_codes(x, self._aligned(self.scale, x), self.low, self.high)
        return codes

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element."""
        codes = self.codes(x)
        return codes * self._aligned(self.scale, x)

    def _aligned(self, scale: Tensor, x: Tensor) -> Tensor:
        return scale.view(-1, *[1] * (x.ndim - 1)) if scale.ndim else scale  # [channels, 1, ...]

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"bits={self.bits}, codes {self.low} to {self.high}, steps {self.step.numel()}"


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None
