"""Fold whatever stands between an integer sum and a quantizer into integer thresholds per channel, exactly.

No formula of batch norm is used. The captured operators themselves are run on candidate sums, every channel on its
own, and the places where the code changes are found by bisection; so bias, batch norm with any sign of its scale, hard
tanh, their roundings, infinities and NaN come out as in training. Bisection needs a function that only rises or only
falls; that is then checked on every possible sum while there are at most `EXHAUSTIVE` of them, else on a sample around
and beyond.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

ALWAYS = -(2**31)
"""The threshold that every sum reaches."""
NEVER = 2**31 - 1
"""The threshold that no sum reaches."""
EXHAUSTIVE = 2**25
_SAMPLES = 4096
_NEAR = 16
_CHUNK = 2**22

Levels = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Sums `[R, N]` (one row per candidate, one column per channel) to codes `[R, N]`, from 0 up."""


class NotMonotonicError(Exception):
    """The code of a channel rises and falls over the range of its sums."""


def find_thresholds(levels: Levels, sums: range, channels: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the threshold and the flip of each channel of a function to 0 and 1.

    Bit = `(sum >= threshold) XOR flip`. A bit that never changes has the threshold `ALWAYS`.

    Args:
        levels: the function to fold.
        sums: every sum that can occur, ascending, at least one.
        channels: N.

    Returns:
        thresholds int32 `[N]` and flips bool `[N]`.

    Raises:
        NotMonotonicError: the function changes its bit more than once.

    >>> find_thresholds(lambda s: (s >= 3) * 1, range(-4, 5), 1)
    (array([3], dtype=int32), array([False]))
    """
    ladders, flips = find_ladders(levels, sums, channels, 1)
    thresholds = ladders[:, 0]
    never = thresholds == NEVER
    return np.where(never, ALWAYS, thresholds).astype(np.int32), flips ^ never


def find_ladders(
    levels: Levels, sums: range, channels: int, highest: int
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the thresholds and the flip of each channel of a function to codes.

    Code = the number of thresholds for which `(sum >= threshold) XOR flip`.

    Args:
        levels: the function to fold.
        sums: every sum that can occur, ascending, at least one.
        channels: N.
        highest: the greatest code, L.

    Returns:
        thresholds int32 `[N, L]`, each row ascending, and flips bool `[N]`.

    Raises:
        NotMonotonicError: the function rises and falls.

    >>> find_ladders(lambda s: np.clip(-s, 0, 3), range(-9, 10), 1, 3)
    (array([[-2, -1,  0]], dtype=int32), array([ True]))
    """
    first = levels(np.full((1, channels), sums[0]))[0]  # [N]
    last = levels(np.full((1, channels), sums[-1]))[0]
    search = _Search(levels, sums, falls=last < first, level=np.arange(1, highest + 1)[:, None])
    places = search.bisect()  # [L, N]
    thresholds = np.where(search.passed(last), _at(sums, places), NEVER)
    thresholds = np.where(search.passed(first), ALWAYS, thresholds)
    _check(search, places)
    return np.sort(thresholds.T, axis=1).astype(np.int32), search.falls


class _Search:
    """The search for the least sum at which a channel has passed each level."""

    def __init__(self, levels: Levels, sums: range, falls: NDArray[np.bool_], level: NDArray[np.int64]) -> None:
        self.levels, self.sums, self.falls, self.level = levels, sums, falls, level

    def passed(self, codes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether codes `[N]` or `[L, N]` have reached each level, or fallen below it."""
        return (codes >= self.level) ^ self.falls

    def against(self, steps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether steps `[R, N]` of the codes go against their channel's direction.

        That is down in a channel that rises, or up in one that falls.
        """
        wrong: NDArray[np.bool_] = ((steps < 0) ^ self.falls) & (steps != 0)
        return wrong

    def bisect(self) -> NDArray[np.int64]:
        """Return the least place in `sums` that has passed, `[L, N]`.

        It is the last where none has.
        """
        low = np.zeros((len(self.level), len(self.falls)), dtype=np.int64)
        high = np.full_like(low, len(self.sums) - 1)
        while (low < high).any():
            middle = (low + high) // 2
            passed = self.passed(self.levels(_at(self.sums, middle)))
            high = np.where(passed, middle, high)
            low = np.where(passed, low, np.minimum(middle + 1, high))
        return high


def _at(sums: range, places: NDArray[np.int64]) -> NDArray[np.int64]:
    return sums.start + sums.step * places


def _check(search: _Search, places: NDArray[np.int64]) -> None:
    """Check that each channel only rises or only falls; then the places found are the only ones."""
    count, channels = len(search.sums), len(search.falls)
    if channels == 0:
        return
    rows = sampled(count, channels, _SAMPLES)
    if len(rows) < count:
        _check_near(search, places)
    chunk = max(2, _CHUNK // channels)
    for begin in range(0, len(rows), chunk - 1):  # chunks overlap by one row
        part = _at(search.sums, rows[begin : begin + chunk])
        codes = search.levels(np.broadcast_to(part[:, None], (len(part), channels)))
        _refuse_where(search.against(np.diff(codes, axis=0)))


def sampled(count: int, channels: int, samples: int) -> NDArray[np.int64]:
    """Return which of so many sums to look at.

    All of them, or some at equal distance where that is too much work.
    """
    if count * channels <= EXHAUSTIVE:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, samples).round().astype(np.int64))


def _check_near(search: _Search, places: NDArray[np.int64]) -> None:
    last = len(search.sums) - 1
    previous = None
    for distance in range(-_NEAR, _NEAR + 1):
        near = places + distance
        codes = search.levels(_at(search.sums, near.clip(0, last)))  # [L, N]
        inside = (near >= 0) & (near <= last) & (places > 0) & (places < last)
        _refuse_where(inside & (search.passed(codes) != (distance >= 0)))
        if previous is not None:
            _refuse_where(search.against(codes - previous))
        previous = codes


def _refuse_where(wrong: NDArray[np.bool_]) -> None:
    channels = wrong.any(axis=0)
    if channels.any():
        raise NotMonotonicError(f"channel {int(np.argmax(channels))} changes more than once, up and down")
