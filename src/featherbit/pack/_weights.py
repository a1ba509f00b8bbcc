"""Find the integers behind a float weight: its scale, its encoding and its bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import WeightEncoding, pack_weight, weight_range


class NotIntegersError(Exception):
    """The weights are no small integers times a power of two."""


@dataclass(frozen=True, eq=False)
class FittedWeight:
    """Integers that give a float weight: `weight = scale * integers`.

    Args:
        integers: int64 `[N, K]`.
        bits: 1 to 8.
        encoding: how the bits mean them.
        scale: a power of two.
    """

    integers: NDArray[np.int64]
    bits: int
    encoding: WeightEncoding
    scale: float

    def fields(self) -> dict[str, Any]:
        """Return the fields of a product."""
        words = pack_weight(self.integers, self.bits, self.encoding)
        return {"weight": words, "weight_bits": self.bits, "weight_encoding": self.encoding}


def fit_weight(weight: NDArray[np.float32]) -> FittedWeight:
    """Return the integers of fewest bits that give a weight.

    Args:
        weight: float32 `[N, K]`.

    Raises:
        NotIntegersError: not finite, or more than 8 bits.

    >>> fitted = fit_weight(np.array([[0.5, -0.25, 0.0]], dtype=np.float32))
    >>> fitted.integers.tolist(), fitted.bits, fitted.encoding, fitted.scale
    ([[2, -1, 0]], 3, 'twos_complement', 0.25)
    """
    if not np.isfinite(weight).all():
        raise NotIntegersError("its weights are not all finite")
    scale = _grid(weight.astype(np.float64))
    steps = weight.astype(np.float64) / scale
    if np.abs(steps).max(initial=0) < 2**8:
        integers = steps.astype(np.int64)
        encoding: WeightEncoding = "sign" if (integers % 2 == 1).all() else "twos_complement"
        for bits in range(1 if encoding == "sign" else 2, 9):
            low, high, _ = weight_range(bits, encoding)
            if integers.min(initial=0) >= low and integers.max(initial=0) <= high:
                return FittedWeight(integers, bits, encoding, scale)
    raise NotIntegersError("its weights are no integers of at most 8 bits times a power of two")


def _grid(weight: NDArray[np.float64]) -> float:
    """Return the greatest power of two of which every weight is a multiple; 1 for zeros alone."""
    numbers = np.abs(weight[weight != 0])
    if not numbers.size:
        return 1.0
    mantissa, exponent = np.frexp(numbers)  # numbers = mantissa * 2^exponent, mantissa in [0.5, 1)
    odd = (mantissa * 2.0**24).astype(np.int64)  # exact: a float32 has 24 bits
    zeros = np.log2((odd & -odd).astype(np.float64)).astype(np.int64)
    return float(2.0 ** int((exponent.astype(np.int64) - 24 + zeros).min()))
