"""Independent definitions of what training computes: plain Python numbers, one element at a time, and no torch."""

from __future__ import annotations

import math
import struct
from decimal import ROUND_HALF_EVEN, Decimal


def sign_of(x: float) -> float:
    """Return +1 for zero of either sign and above, -1 for the rest and for NaN."""
    if math.isnan(x):
        return -1.0
    return -1.0 if x < 0 else 1.0


def passes(x: float, window: float | None) -> bool:
    """Return whether the straight-through estimator passes a gradient at `x`."""
    if window is None:
        return True
    return not math.isnan(x) and -window <= x <= window


def fixed_point(x: float, bits: int) -> float:
    """Return the nearest k-bit fixed-point number in [-1, 1), ties to even, by decimal arithmetic."""
    steps = 2 ** (bits - 1)
    if math.isinf(x):
        return -1.0 if x < 0 else 1.0 - 1.0 / steps
    code = int((Decimal(x) * steps).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)) if abs(x) < 2 else int(x) * steps
    return max(-steps, min(steps - 1, code)) / steps


def square_hinge(scores: list[list[float]], labels: list[int]) -> float:
    """Return the mean over all scores of `max(0, 1 - t y)^2`."""
    terms = [
        max(0.0, 1.0 - (1.0 if column == label else -1.0) * score) ** 2
        for row, label in zip(scores, labels, strict=True)
        for column, score in enumerate(row)
    ]
    return sum(terms) / len(terms)


def idx_bytes(shape: tuple[int, ...], content: bytes, *, code: int = 8) -> bytes:
    """Return an IDX file as the format's description says."""
    return b"\0\0" + bytes([code, len(shape)]) + b"".join(struct.pack(">I", size) for size in shape) + content
