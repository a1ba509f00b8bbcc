"""Find a line that counts thresholds: many comparisons become one multiplication, exactly.

A k-bit quantizer is `2^k - 1` thresholds per channel, and for 8 bits counting the ones that a sum reaches takes 255
comparisons. The thresholds of a linear quantizer lie on a digital line, up to the rounding of the trainer's float32,
so `clip(rint(x * a + b), 0, 2^k - 1)` is the code where `x * a + b` is not close to a tie; there the kernel compares.
The line is found from the thresholds alone, and tried in float32 on either side of every threshold: rounding is
monotonic, that of a sum past 2^24 to a float32 too, so what holds there holds for every sum. Where no line fits,
thresholds are counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_SLACKS = tuple(2.0**-power for power in range(16, 8, -1))  # 2^-16 is a unit in the last place of a code of 8 bits
_CHANNELS = 4  # looked at together: pairs of 255 thresholds take 0.5 MB each


class Lines(NamedTuple):
    """Lines that count thresholds, a channel each.

    Args:
        multiplier: float32 `[N]`.
        addend: float32 `[N]`.
        slack: a result this close to a tie, or closer, is left to the thresholds; a power of two.
    """

    multiplier: NDArray[np.float32]
    addend: NDArray[np.float32]
    slack: float


def find_lines(thresholds: NDArray[np.int32], flips: NDArray[np.bool_], bound: int) -> Lines | None:
    """Return the line of each channel, or None where some channel has none.

    Args:
        thresholds: int32 `[N, T]`, each row ascending.
        flips: bool `[N]`: the code counts the thresholds that are not reached.
        bound: no sum is larger in magnitude.

    Returns:
        Lines with `clip(rint(float32(x) * multiplier + addend), 0, T)` the code of each sum `x` that is farther than
        the slack from a tie, and the least slack.

    >>> multiplier, addend, slack = find_lines(np.array([[-4, 0, 4]], dtype=np.int32), np.array([False]), 100)
    >>> np.rint(np.array([-5, -4, -1, 0, 3, 4]) * multiplier + addend).tolist()
    [0.0, 1.0, 1.0, 2.0, 2.0, 3.0]
    """
    slopes, starts = [], []
    for begin in range(0, len(thresholds), _CHANNELS):
        slope, start = _fit(thresholds[begin : begin + _CHANNELS], bound)
        slopes.append(slope)
        starts.append(start)
    # Threshold j lies at slope * j + start: the count is floor((x - start) / slope) + 1, or rint of half a step less.
    slope, start = np.concatenate(slopes), np.concatenate(starts)
    sign, shift = np.where(flips, -1.0, 1.0), np.where(flips, thresholds.shape[1], 0.0)
    multiplier = (sign / slope).astype(np.float32)
    addend = (shift + sign * (0.5 - start / slope)).astype(np.float32)
    miss = _largest_miss(multiplier, addend, flips, thresholds, bound)
    slack = next((slack for slack in _SLACKS if miss <= slack), None)
    return None if slack is None else Lines(multiplier, addend, slack)


def _fit(thresholds: NDArray[np.int32], bound: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope and start with `t - 1 < slope * j + start <= t`, or as nearly as can be.

    The middle of what the thresholds allow; where some are off the line by a unit, and allow nothing, the slope of
    least squares.
    """
    upper = np.minimum(thresholds.astype(np.float64), bound + 1)  # [N, T]
    lower = np.maximum(thresholds.astype(np.float64) - 1, -bound - 1)
    upper[thresholds <= -bound] = -bound  # reached by every sum: anywhere below
    lower[thresholds <= -bound] = -np.inf
    lower[thresholds > bound] = bound  # reached by none: anywhere above
    upper[thresholds > bound] = np.inf
    index = np.arange(thresholds.shape[1], dtype=np.float64)
    gap = index[None, :] - index[:, None]  # [T, T], positive where the second is the later one
    later = gap > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        most = np.where(later, (upper[:, None, :] - lower[:, :, None]) / gap, np.inf)
        least = np.where(later, (lower[:, None, :] - upper[:, :, None]) / gap, -np.inf)
    high, low = most.min(axis=(1, 2), initial=np.inf), least.max(axis=(1, 2), initial=-np.inf)
    high = np.where(np.isfinite(high), high, np.maximum(low, 0) + 2 * bound + 2)
    slope = np.where(low > high, _least_squares(lower, upper), (np.maximum(low, 0) + high) / 2)
    slope = np.maximum(slope, 2.0**-20)
    start_most = (upper - slope[:, None] * index).min(axis=1)
    start_least = (lower - slope[:, None] * index).max(axis=1)
    start_most = np.where(np.isfinite(start_most), start_most, start_least + 1)
    start_least = np.where(np.isfinite(start_least), start_least, start_most - 1)
    return slope, (start_most + start_least) / 2


def _least_squares(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the slope of the line through the middles of finite bounds `[N, T]`."""
    used = np.isfinite(lower) & np.isfinite(upper)
    count = np.maximum(used.sum(axis=1, keepdims=True), 1)
    index = np.where(used, np.arange(lower.shape[1]), 0.0)
    index = np.where(used, index - index.sum(axis=1, keepdims=True) / count, 0.0)
    middle = np.where(used, (np.where(used, lower, 0.0) + np.where(used, upper, 0.0)) / 2, 0.0)
    return np.asarray((index * middle).sum(axis=1) / np.maximum((index**2).sum(axis=1), 2.0**-20))


def _largest_miss(
    multiplier: NDArray[np.float32],
    addend: NDArray[np.float32],
    flips: NDArray[np.bool_],
    thresholds: NDArray[np.int32],
    bound: int,
) -> float:
    """Return how far a line is on the wrong side of a tie at most, beside the thresholds; negative where nowhere."""

    def reached(sums: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how many thresholds each sum `[N, S]` reaches, not yet rounded, as the kernel computes it."""
        y = (sums.astype(np.float32) * multiplier[:, None] + addend[:, None]).astype(np.float64)
        return np.where(flips[:, None], thresholds.shape[1] - y, y)

    ties = np.arange(thresholds.shape[1]) + 0.5
    wide = thresholds.astype(np.int64)
    misses = []
    for sums, side in ((wide, 1.0), (wide - 1, -1.0)):
        miss = (ties - reached(sums.clip(-bound, bound))) * side
        misses.append(np.where(np.abs(sums) <= bound, miss, -np.inf).max(initial=-np.inf))
    ends = reached(np.array([[-bound, bound]]))  # [N, 2]
    always, never = (wide <= -bound).sum(axis=1), (wide <= bound).sum(axis=1)
    misses.append(np.where(always == 0, -np.inf, always - 0.5 - ends[:, 0]).max(initial=-np.inf))
    misses.append(np.where(never == len(ties), -np.inf, ends[:, 1] - never - 0.5).max(initial=-np.inf))  # else the clip
    return float(max(misses))
