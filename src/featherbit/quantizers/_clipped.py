"""The gradient of clipping, written for speed: the backward pass of every quantizer with a range."""

from __future__ import annotations

import torch
from torch import Tensor


def pass_between(gradient: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """Pass the gradient where `low <= x <= high`; times zero elsewhere and at NaN.

    A product with a mask of zeros and ones, because it keeps the memory format of a channels-last gradient and is
    vectorized: `masked_fill` does neither, and a batch norm's backward pass is several times slower after it.

    Args:
        gradient: gradient at the quantizer's output, any shape, finite.
        x: the quantizer's input, same shape.
        low: lower end of the range, inclusive.
        high: upper end, inclusive.

    Returns:
        Same shape and dtype as `gradient`.

    >>> pass_between(torch.ones(4), torch.tensor([-2.0, -1.0, 1.0, float("nan")]), -1.0, 1.0).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    clipped = x.clamp(low, high)
    return torch.eq(clipped, x, out=clipped).mul_(gradient).to(gradient.dtype)
