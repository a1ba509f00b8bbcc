"""The line that counts thresholds, against counting them, for every sum."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featherbit.runtime._lines import find_lines

INT32_ENDS = (-(2**31), 2**31 - 1)


def counted(thresholds: NDArray[np.int32], flips: NDArray[np.bool_], sums: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count thresholds one by one: `[N, S]`."""
    reached = sums[None, :, None] >= thresholds.astype(np.int64)[:, None, :]  # [N, S, T]
    return (reached ^ flips[:, None, None]).sum(axis=2)


def assert_lines_count(thresholds: NDArray[np.int32], flips: NDArray[np.bool_], bound: int) -> bool:
    """Assert that a line, where there is one, gives every code or leaves it to the kernel; return whether there is."""
    lines = find_lines(thresholds, flips, bound)
    if lines is None:
        return False
    multiplier, addend = lines.multiplier[:, None], lines.addend[:, None]
    sums = np.arange(-bound, bound + 1)
    line = np.clip(sums.astype(np.float32) * multiplier + addend, 0, thresholds.shape[1])
    assert line.dtype == np.float32
    settled = np.abs(line - np.rint(line)) < np.float32(0.5 - lines.slack)
    assert np.array_equal(np.rint(line)[settled], counted(thresholds, flips, sums)[settled])
    return True


def along_a_line(slope: float, start: float, levels: int) -> NDArray[np.int32]:
    return np.ceil(slope * np.arange(levels) + start).astype(np.int32)


@given(
    st.lists(st.tuples(st.floats(0.01, 50), st.floats(-60, 60), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([1, 3, 7, 15, 255]),
    st.sampled_from([1, 40, 700]),
)
@settings(deadline=None, max_examples=30)
def test_thresholds_along_a_line_have_a_line(
    channels: list[tuple[float, float, bool]], levels: int, bound: int
) -> None:
    thresholds = np.stack([along_a_line(slope, start, levels) for slope, start, _ in channels])
    flips = np.array([flip for *_, flip in channels])
    assert assert_lines_count(thresholds, flips, bound)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 7, 15]), st.integers(1, 60))
@settings(deadline=None, max_examples=60)
def test_no_line_is_a_wrong_one(seed: int, levels: int, bound: int) -> None:
    rng = np.random.default_rng(seed)
    thresholds = np.sort(rng.integers(-bound - 5, bound + 6, size=(5, levels)), axis=1).astype(np.int32)
    always, never = (rng.integers(0, levels + 1, size=5) for _ in range(2))
    for row, (first, last) in enumerate(zip(always, never, strict=True)):
        if rng.random() < 0.5:
            thresholds[row, :first] = INT32_ENDS[0]
            thresholds[row, max(first, last) :] = INT32_ENDS[1]
    assert_lines_count(thresholds, rng.random(5) < 0.5, bound)


def test_thresholds_far_from_a_line_have_none() -> None:
    bent = np.array([[0, 1, 2, 100, 101, 102, 103]], dtype=np.int32)
    assert find_lines(bent, np.array([False]), 200) is None
    straight = along_a_line(10.0, -30.0, 7)[None]
    assert find_lines(np.concatenate([straight, bent]), np.array([False, False]), 200) is None
    moved = straight.copy()
    moved[0, 3] += 4
    assert find_lines(moved, np.array([True]), 200) is None


def test_equal_thresholds_have_a_line_only_where_it_is_steep_enough() -> None:
    equal = np.zeros((1, 7), dtype=np.int32)
    for bound in (1, 30):
        assert_lines_count(equal, np.array([False]), bound)
        assert_lines_count(equal, np.array([True]), bound)


def test_always_and_never_have_lines() -> None:
    for ends in ([0] * 7, [1] * 7, [0] * 3 + [1] * 4):
        thresholds = np.array([[INT32_ENDS[end] for end in ends]], dtype=np.int32)
        for flip in (False, True):
            assert assert_lines_count(thresholds, np.array([flip]), 50)


def test_a_channel_may_reach_a_part_of_its_codes() -> None:
    for start in (-400.0, -55.0, 0.0, 35.0, 400.0):
        thresholds = along_a_line(10.0, start, 15)[None]
        assert assert_lines_count(thresholds, np.array([False]), 60)


def test_the_slack_is_as_small_as_the_thresholds_allow() -> None:
    exact = along_a_line(2000.3, -250000.0, 255)[None]
    lines = find_lines(exact, np.array([False]), 600000)
    assert lines is not None
    assert lines.slack <= 2.0**-14
    moved = exact.copy()
    moved[0, 100] += 2  # a thousandth of a step off the line, less once the line is fitted to it
    loose = find_lines(moved, np.array([False]), 600000)
    assert loose is not None
    assert lines.slack < loose.slack <= 2.0**-9
    assert_lines_count(moved, np.array([False]), 600000)
