"""DoReFa's quantizers: weights through a tanh, activations clipped to [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..bits import BitFormat
from ._codes import round_codes
from ._linear import checked_bits

_TINY = 2.0**-126  # the smallest normal float32: an all-zero weight divides zero by it


class DorefaActivation(nn.Module):
    """Quantize to the `2^k` numbers from 0 to 1 at equal distance.

    Forward: `round(clip(x, 0, 1) * (2^k - 1)) / (2^k - 1)`, as `codes(x) * scale`, ties to even.
    Backward: the straight-through estimator, zero outside [0, 1].

    Args:
        bits: k, 1 to 8.

    Raises:
        InputError: bits out of range.

    Source: Zhou et al., DoReFa-Net (arXiv 1606.06160), section 2.6.

    >>> DorefaActivation(2).codes(torch.tensor([-1.0, 0.4, 2.0])).tolist()
    [0.0, 1.0, 3.0]
    """

    scale: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = checked_bits("DorefaActivation", bits, 1)
        self.high = 2**bits - 1
        self.format = BitFormat(bits, "unsigned", scale=1.0 / self.high)
        self.register_buffer("scale", torch.tensor(1.0 / self.high), persistent=False)

    def codes(self, x: Tensor) -> Tensor:
        """Return the integer code of each element, 0 to `2^k - 1`."""
        codes: Tensor = round_codes(x, self.scale, 0, self.high)
        return codes

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element."""
        return self.codes(x) * self.scale

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"bits={self.bits}"


class DorefaWeight(nn.Module):
    """Quantize a weight to the `2^k` numbers from -1 to 1 at equal distance.

    Forward: `2 * round((2^k - 1) * r) / (2^k - 1) - 1`, `r = tanh(w) / (2 max|tanh(w)|) + 1/2`, as `codes(w) * scale`
    with the odd codes from `1 - 2^k` to `2^k - 1`; ties to even.
    Backward: the gradient of the formula without the rounding.

    Args:
        bits: k, 2 to 8; one bit is `Sign`.

    Raises:
        InputError: bits out of range.

    Source: Zhou et al., DoReFa-Net (arXiv 1606.06160), section 2.5.

    >>> DorefaWeight(2).codes(torch.tensor([-3.0, 0.1, 3.0])).tolist()
    [-3.0, 1.0, 3.0]
    """

    scale: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = checked_bits("DorefaWeight", bits, 2)
        self.high = 2**bits - 1
        self.format = BitFormat(bits, "twos_complement", scale=1.0 / self.high)
        self.register_buffer("scale", torch.tensor(1.0 / self.high), persistent=False)

    def codes(self, weight: Tensor) -> Tensor:
        """Return the code of each element, an odd number from `1 - 2^k` to `2^k - 1`."""
        squeezed = torch.tanh(weight)
        share = squeezed / squeezed.abs().max().clamp_min(_TINY) * 0.5 + 0.5  # 0 to 1
        codes: Tensor = round_codes(share, self.scale, 0, self.high)
        return codes.mul(2.0).sub(self.high)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantized value of each element."""
        return self.codes(weight) * self.scale

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"bits={self.bits}"
