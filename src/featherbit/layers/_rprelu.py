"""The learned shifts of residual networks with binary convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelShift(nn.Module):
    """Add a learned number to each channel; before a sign, it moves the threshold.

    Forward: `x + shift`.

    Args:
        channels: size of dimension 1.

    Source: Liu et al., ReActNet (arXiv 2003.03488), the shift of its RSign.
    Differs: added, as in the authors' code, where the paper subtracts it.

    >>> ChannelShift(2)(torch.ones(1, 2, 3, 3)).shape
    torch.Size([1, 2, 3, 3])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the shifted values.

        Args:
            x: `[B, channels, *places]`.
        """
        return x + _places(self.shift, x)


class RPReLU(nn.Module):
    """A PReLU with a learned slope and learned shifts of input and output per channel.

    Forward: `prelu(x - shift_in) + shift_out`, `prelu(v) = v if v > 0 else slope * v`.

    Args:
        channels: size of dimension 1.
        slope: the first slope.

    Source: Liu et al., ReActNet (arXiv 2003.03488), equation 5; the first slope is torch's.

    >>> RPReLU(1)(torch.tensor([[[-2.0, 3.0]]])).tolist()
    [[[-0.5, 3.0]]]
    """

    def __init__(self, channels: int, slope: float = 0.25) -> None:
        super().__init__()
        self.shift_in = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), slope))
        self.shift_out = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations.

        Args:
            x: `[B, channels, *places]`.
        """
        bent = F.prelu(x - _places(self.shift_in, x), self.slope)
        return bent + _places(self.shift_out, x)


def _places(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.ndim - 2))  # [channels, 1, ...]
