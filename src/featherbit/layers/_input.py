"""`FixedPointInput`: pixels as 8-bit fixed-point numbers.

`2u/255 - 1` was rejected: its values are not exact in binary, so a float sum of them depends on the order of summation
and hence on the matrix library. Multiples of 1/128 are exact, and so is every sum of a first layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..quantizers import LinearQuant


class FixedPointInput(nn.Module):
    """Map unsigned codes to fixed-point numbers in [-1, 1).

    Forward: `(u - 2^(bits-1)) / 2^(bits-1)` for uint8 codes; a float input is quantized by `LinearQuant(bits)`.

    Args:
        bits: width of a code, 2 to 8.

    Source: the paper's first layer takes 8-bit fixed-point input (section 1, inference).

    >>> FixedPointInput()(torch.tensor([0, 128, 255], dtype=torch.uint8)).tolist()
    [-1.0, 0.0, 0.9921875]
    """

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        self.quantizer = LinearQuant(bits)
        self.midpoint = 2.0 ** (bits - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return float values in [-1, 1), same shape.

        Args:
            x: uint8 codes or floats in [-1, 1), any shape.

        Raises:
            InputError: another dtype.
        """
        if x.dtype == torch.uint8:
            return (x.to(torch.float32) - self.midpoint) / self.midpoint
        if not x.is_floating_point():
            raise InputError(f"the input must be uint8 or a float type, got {x.dtype}; convert it first")
        quantized: Tensor = self.quantizer(x)
        return quantized
