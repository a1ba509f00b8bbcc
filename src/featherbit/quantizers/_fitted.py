"""`FittedQuant`: integer weights whose step follows the weights themselves."""

from __future__ import annotations

import math

from torch import Tensor, nn

from ..bits import BitFormat
from ._codes import round_codes
from ._linear import checked_bits

_STEPS = {2: 0.9957, 3: 0.5860, 4: 0.3352, 5: 0.1881, 6: 0.1041, 7: 0.0569, 8: 0.0308}
"""Of the uniform quantizer with the least mean square error for a normal number of deviation 1, by bits."""
_LEAST_STEP = 2.0**-24  # of a row of zeros


class FittedQuant(nn.Module):
    """Quantize each row of a weight to k-bit integers times a step that fits the row.

    Forward: `codes * scale`, `codes = clamp(round(x / scale), -2^(k-1), 2^(k-1) - 1)`, ties to even, with
    `scale = s_k * sqrt(mean(x^2))` over the row.
    Backward: the gradient where the code is inside its range; none for the step.

    A learned step moves a little at a time, and weights that outrun it get no gradient any more; this one cannot be
    outrun, so it suits training from the beginning at high rates.

    Args:
        bits: k, 2 to 8; one bit is `Sign`.

    Raises:
        InputError: bits out of range.

    Source: the paper's LinearQuant with a scale of its own for each row, which the paper leaves open; `s_k` from Max,
    Quantizing for Minimum Distortion (1960), table II.

    >>> import torch
    >>> quantizer = FittedQuant(2)
    >>> quantizer.coded(torch.tensor([[0.1, -0.1], [2.0, -2.0]]))[0].tolist()
    [[1.0, -1.0], [1.0, -1.0]]
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = checked_bits("FittedQuant", bits, 2)
        self.format = BitFormat(bits, "twos_complement")
        self.latent_bound = None  # latent weights are ordinary parameters

    def reset_latent(self, weight: Tensor) -> None:
        """Draw a weight as torch's own layers do.

        Args:
            weight: `[out, in, *kernel]`, changed in place.
        """
        nn.init.kaiming_uniform_(weight, a=math.sqrt(5))

    def coded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the integer code of each element, and the scale of each row, `[rows]`.

        Args:
            x: `[rows, *row]`.
        """
        squares = x.detach().square().flatten(1).mean(dim=1)  # [rows]
        scale = squares.sqrt().mul(_STEPS[self.bits]).clamp_min(_LEAST_STEP)
        half = 2 ** (self.bits - 1)
        codes: Tensor = round_codes(x, scale.view(-1, *[1] * (x.ndim - 1)), -half, half - 1)
        return codes, scale

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element."""
        codes, scale = self.coded(x)
        return codes * scale.view(-1, *[1] * (x.ndim - 1))

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"bits={self.bits}"
