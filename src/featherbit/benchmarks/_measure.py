"""Interleaved timing: in each round every contestant runs in turn, and ratios are taken within the round.

A machine's clock, its cache and its neighbors change over seconds; contestants timed one after the other would each
see another machine. Within one round they see nearly the same, so the ratio of a round is good even where its times are
not, and the median over rounds drops what remains. The order rotates from round to round, so that nobody always runs
behind the same neighbor. Rejected: best-of-N per contestant, which compares two lucky moments.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

Call = Callable[[], object]
Clock = Callable[[], float]


@runtime_checkable
class SelfTimed(Protocol):
    """A call that runs in another process and brings its own clock."""

    def __call__(self) -> object:
        """Run once."""

    def seconds(self, count: int) -> float:
        """Run `count` times; return the seconds of all together."""


@dataclass(frozen=True)
class Budget:
    """How long a comparison may take.

    Args:
        seconds: aim for all rounds together, > 0.
        block_ms: a contestant's turn is repeated calls of at least this long.
        least_rounds: run even when they take longer than `seconds`.
        most_rounds: not exceeded however short they are.
        pause_ms: between turns, for the worker threads of the last contestant to stop spinning.
    """

    seconds: float = 20.0
    block_ms: float = 200.0
    least_rounds: int = 5
    most_rounds: int = 41
    pause_ms: float = 10.0


DEFAULT_BUDGET = Budget()


@dataclass(frozen=True)
class Comparison:
    """One peer against ours, over all rounds.

    Args:
        ratio: median of peer's time / ours, one per round.
        ratio_low: 10th percentile.
        ratio_high: 90th percentile.
        ours_ms: median time of one call of ours.
        peer_ms: median time of one call of the peer's.
        rounds: how many there were.
    """

    ratio: float
    ratio_low: float
    ratio_high: float
    ours_ms: float
    peer_ms: float
    rounds: int


def compare(
    ours: Call,
    peers: Mapping[str, Call],
    budget: Budget = DEFAULT_BUDGET,
    *,
    on_round: Callable[[int, int], None] | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Comparison]:
    """Time ours and its peers round by round.

    Args:
        ours: runs ours once.
        peers: by name; may be empty.
        budget: how long.
        on_round: called with (rounds done, rounds planned) after each.
        clock: seconds, monotonic.

    Returns:
        A comparison for each peer, in the order given.
    """
    contestants = {"": ours, **peers}
    repeats, rounds = _plan(contestants, budget, clock)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for index in range(rounds):
        shift = index % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(_turn(contestants[name], repeats[name], budget.pause_ms, clock))
        if on_round is not None:
            on_round(index + 1, rounds)
    return {name: summarize(times[""], times[name]) for name in peers}


def summarize(ours_seconds: Sequence[float], peer_seconds: Sequence[float]) -> Comparison:
    """Reduce the times of one peer and ours, one pair per round, to a comparison.

    >>> summarize([1.0, 2.0, 1.0], [10.0, 22.0, 12.0]).ratio
    11.0
    """
    ratios = np.asarray(peer_seconds) / np.asarray(ours_seconds)
    low, high = np.percentile(ratios, [10, 90])
    return Comparison(
        ratio=float(np.median(ratios)),
        ratio_low=float(low),
        ratio_high=float(high),
        ours_ms=statistics.median(ours_seconds) * 1e3,
        peer_ms=statistics.median(peer_seconds) * 1e3,
        rounds=len(ratios),
    )


def _plan(contestants: Mapping[str, Call], budget: Budget, clock: Clock) -> tuple[dict[str, int], int]:
    """Warm everybody up; return calls per turn and the number of rounds that fit the budget."""
    repeats, round_seconds = {}, 0.0
    for name, call in contestants.items():
        call()
        once = max(_turn(call, 1, budget.pause_ms, clock), 1e-9)
        repeats[name] = max(1, math.ceil(budget.block_ms * 1e-3 / once))
        # One more call per turn warms the caches, hence the + 1.
        round_seconds += (repeats[name] + 1) * once + budget.pause_ms * 1e-3
    rounds = int(budget.seconds / round_seconds)
    return repeats, min(max(rounds, budget.least_rounds), budget.most_rounds)


def _turn(call: Call, repeats: int, pause_ms: float, clock: Clock) -> float:
    """Return the mean seconds of one call, the caches warmed by a first one where that is cheap."""
    time.sleep(pause_ms * 1e-3)
    if repeats > 1:
        call()
    if isinstance(call, SelfTimed):
        return call.seconds(repeats) / repeats
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / repeats
