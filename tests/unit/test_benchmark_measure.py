"""Interleaved timing, on a clock that only contestants move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from featherbit.benchmarks import Budget, compare
from featherbit.benchmarks._measure import summarize
from featherbit.benchmarks._variants import fastest


class Clock:
    """A clock in seconds that stands still unless somebody works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def worker(self, name: str, seconds: Callable[[], float]) -> Callable[[], None]:
        def work() -> None:
            self.calls.append(name)
            self.now += seconds()

        return work


QUICK = Budget(seconds=0.0, block_ms=1.0, least_rounds=6, most_rounds=6, pause_ms=0.0)


def test_the_ratio_is_the_peers_time_over_ours() -> None:
    clock = Clock()
    result = compare(
        clock.worker("ours", lambda: 0.01), {"peer": clock.worker("peer", lambda: 0.25)}, QUICK, clock=clock
    )["peer"]
    assert result.ratio == pytest.approx(25.0)  # sums of clock readings are rounded
    assert (result.ours_ms, result.peer_ms) == (pytest.approx(10.0), pytest.approx(250.0))
    assert result.rounds == 6


def test_a_drifting_clock_leaves_the_ratio_alone() -> None:
    clock = Clock()
    slow = {"factor": 1.0}

    def drifting(seconds: float) -> Callable[[], float]:
        def current() -> float:
            slow["factor"] *= 1.01
            return seconds * slow["factor"]

        return current

    result = compare(
        clock.worker("ours", drifting(0.01)), {"peer": clock.worker("peer", drifting(0.03))}, QUICK, clock=clock
    )["peer"]
    assert result.ratio == pytest.approx(3.0, rel=0.02)  # two calls lie at most 1 % apart, and the order rotates
    assert result.peer_ms > 31.0


def test_contestants_take_turns_and_the_first_place_rotates() -> None:
    clock = Clock()
    workers = {name: clock.worker(name, lambda: 0.01) for name in "abc"}
    compare(workers["a"], {"b": workers["b"], "c": workers["c"]}, QUICK, clock=clock)
    rounds = clock.calls[6:]  # two calls each warm up
    assert "".join(rounds) == "abc" + "bca" + "cab" + "abc" + "bca" + "cab"


def test_a_short_call_is_repeated_to_fill_its_turn_and_warmed_first() -> None:
    clock = Clock()
    compare(clock.worker("ours", lambda: 0.0003), {}, QUICK, clock=clock)
    assert len(clock.calls) == 2 + 6 * (4 + 1)


def test_the_number_of_rounds_follows_the_budget_between_its_bounds() -> None:
    def rounds(seconds: float) -> int:
        clock = Clock()
        budget = Budget(seconds=seconds, block_ms=1.0, least_rounds=2, most_rounds=7, pause_ms=0.0)
        compare(clock.worker("a", lambda: 0.25), {"b": clock.worker("b", lambda: 0.25)}, budget, clock=clock)
        return (len(clock.calls) - 4) // 2

    assert [rounds(seconds) for seconds in (0.0, 5.0, 100.0)] == [2, 5, 7]


def test_progress_is_reported_after_each_round() -> None:
    clock = Clock()
    seen: list[tuple[int, int]] = []
    compare(clock.worker("a", lambda: 0.01), {}, QUICK, clock=clock, on_round=lambda done, of: seen.append((done, of)))
    assert seen == [(done, 6) for done in range(1, 7)]


def test_low_and_high_are_percentiles_of_the_ratios_per_round() -> None:
    result = summarize([1.0] * 11, [float(i) for i in range(11)])
    assert (result.ratio_low, result.ratio, result.ratio_high) == (1.0, 5.0, 9.0)


def test_the_fastest_variant_competes_and_is_named() -> None:
    slow = sum

    def busy() -> object:
        return slow(range(200_000))

    peer = fastest("peer", {"slow": busy, "quick": lambda: None})
    assert (peer.name, peer.note) == ("peer", "quick")
