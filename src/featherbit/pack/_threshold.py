"""Fold whatever stands between an integer sum and a sign into one integer threshold per channel, exactly.

No formula of batch norm is used. The captured operators themselves are run on candidate sums, every channel on its
own, and the place where the sign changes is found by bisection; so bias, batch norm with any sign of its scale, hard
tanh, their roundings, infinities and NaN come out as in training. Bisection needs a function that changes its sign at
most once; that is then checked on every possible sum while there are at most `EXHAUSTIVE` of them, else on a sample
around and beyond.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

ALWAYS = -(2**31)
"""The threshold that every sum reaches; with flip 0 always +1, with flip 1 always -1."""
EXHAUSTIVE = 2**25
_SAMPLES = 4096
_CHUNK = 2**22

Bits = Callable[[NDArray[np.int64]], NDArray[np.bool_]]
"""Sums `[R, N]` (one row per candidate, one column per channel) to bits `[R, N]`: True where the sign is +1."""


class NotMonotonicError(Exception):
    """The bit of a channel changes more than once over the range of its sums."""


def find_thresholds(bits: Bits, sums: NDArray[np.int64], channels: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the threshold and the flip of each channel.

    Bit = `(sum >= threshold) XOR flip`.

    Args:
        bits: the function to fold.
        sums: every sum that can occur, int64 `[R]`, ascending, R >= 1.
        channels: N.

    Returns:
        thresholds int32 `[N]` and flips bool `[N]`.

    Raises:
        NotMonotonicError: the function changes its sign more than once.

    >>> find_thresholds(lambda s: s >= 3, np.arange(-4, 5), 1)
    (array([3], dtype=int32), array([False]))
    """
    first = bits(np.full((1, channels), sums[0]))[0]  # [N]
    last = bits(np.full((1, channels), sums[-1]))[0]
    # The least index whose bit is the last one's; all before it have the first one's.
    low = np.zeros(channels, dtype=np.int64)
    high = np.full(channels, len(sums) - 1)
    while (low < high).any():
        middle = (low + high) // 2
        reached = bits(sums[middle][None, :])[0] == last
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    thresholds = np.where(first == last, ALWAYS, sums[high]).astype(np.int32)
    flips = ~last
    _check(bits, sums, thresholds, flips)
    return thresholds, flips


def _check(bits: Bits, sums: NDArray[np.int64], thresholds: NDArray[np.int32], flips: NDArray[np.bool_]) -> None:
    channels = len(thresholds)
    if channels == 0:
        return
    if len(sums) * channels > EXHAUSTIVE:
        places = np.linspace(0, len(sums) - 1, _SAMPLES).round().astype(np.int64)
        for place in np.array_split(places, max(1, _SAMPLES * channels // _CHUNK)):
            _compare(bits, np.broadcast_to(sums[place][:, None], (len(place), channels)), thresholds, flips)
        near = np.searchsorted(sums, thresholds)[None, :] + np.arange(-16, 17)[:, None]  # [33, N]
        _compare(bits, sums[near.clip(0, len(sums) - 1)], thresholds, flips)
        return
    for part in np.array_split(sums, max(1, len(sums) * channels // _CHUNK)):
        _compare(bits, np.broadcast_to(part[:, None], (len(part), channels)), thresholds, flips)


def _compare(bits: Bits, sums: NDArray[np.int64], thresholds: NDArray[np.int32], flips: NDArray[np.bool_]) -> None:
    wrong = (bits(sums) != ((sums >= thresholds) ^ flips)).any(axis=0)
    if wrong.any():
        raise NotMonotonicError(f"channel {int(np.argmax(wrong))} changes its sign more than once")
