"""`fma_f32`: the fused multiply-add of float32, exact and independent of the machine's math library.

The product of two float32 is exact in float64, but rounding the sum first to float64 and then to float32 can differ
from one rounding. So the float64 sum is rounded to odd: an inexact sum has a last bit of 1, so that the second rounding
never takes it for a tie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def fma_f32(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `a * b + c`, rounded once to nearest, ties to even.

    Args:
        a: float32, any shape, broadcast with the others; infinities and NaN allowed.
        b: float32.
        c: float32.

    Returns:
        float32, the broadcast shape.

    Source: S. Boldo, G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to
        odd", IEEE Transactions on Computers 57 (2008).
    """
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        product = a.astype(np.float64) * b.astype(np.float64)  # exact: 48 bits, exponents from -298 to 256
        return _add_to_odd(product, c.astype(np.float64)).astype(np.float32)


def _add_to_odd(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.asarray(a + b)
    shadow = total - a
    error: NDArray[Any] = (a - (total - shadow)) + (b - shadow)  # two-sum: a + b = total + error, exactly
    even = (total.view(np.int64) & 1) == 0
    inexact = np.isfinite(total) & (error != 0)
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where(inexact & even, np.nextafter(total, toward), total)
