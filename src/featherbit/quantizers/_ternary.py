"""Ternary weights: -1, 0 or +1."""

from __future__ import annotations

from torch import Tensor

from ..bits import BitFormat
from ..errors import InputError
from ._linear import Clipped
from ._quantizer import Quantizer


class Ternary(Quantizer):
    """Quantize a weight to -1, 0 or +1 by a threshold that follows its size.

    Forward: `sign(w)` where `|w| > share * mean|w|`, else 0; NaN is 0.
    Backward: the straight-through estimator, zero where `|w| > 1`.

    Args:
        share: the threshold as a share of the mean absolute weight, > 0.

    Raises:
        InputError: a share that is not positive.

    Source: Li and Liu, Ternary Weight Networks (arXiv 1605.04711), equation 6 with its share of 0.7.
    Differs: no scale, for a batch norm follows; `Lsq(2, narrow=True)` learns one.

    >>> import torch
    >>> Ternary()(torch.tensor([-0.9, 0.1, 0.5, -0.2])).tolist()
    [-1.0, 0.0, 1.0, 0.0]
    """

    format = BitFormat(2, "twos_complement")
    latent_bound = 1.0

    def __init__(self, share: float = 0.7) -> None:
        super().__init__(Clipped(-1.0, 1.0))
        if not share > 0:
            raise InputError(f"share must be positive, got {share!r}")
        self.share = float(share)

    def rule(self, weight: Tensor) -> Tensor:
        """Return -1, 0 or +1 for each element."""
        threshold = weight.abs().mean() * self.share
        return (weight > threshold).to(weight.dtype) - (weight < -threshold).to(weight.dtype)

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"share={self.share}"
