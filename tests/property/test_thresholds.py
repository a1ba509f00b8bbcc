"""Folding into thresholds: monotone functions are met exactly, others refused; and batch norms of every kind."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from featherbit.ir import Graph, Threshold
from featherbit.layers import FixedPointInput, QuantLinear
from featherbit.pack import pack
from featherbit.pack._threshold import ALWAYS, NEVER, Levels, NotMonotonicError, find_ladders, find_thresholds
from featherbit.quantizers import Sign
from featherbit.runtime import Session

INF, NAN = float("inf"), float("nan")
SCALES = [1.0, -1.0, 0.0, -0.0, 0.1, -3.7, 1e-38, -1e-38, 1e-45, -1e-45, 3e38, -3e38, INF, -INF, NAN]
SHIFTS = [0.0, -0.0, 1.0, -1.0, 0.3, 1e-38, -1e-45, 3e38, -3e38, INF, -INF, NAN]
MEANS = [0.0, -0.0, 2.0, -4.0, 6.0, -6.0, 7.0, 0.5, 1e-45, 3e38, INF, -INF, NAN]
VARIANCES = [1.0, 0.0, 0.3, 4.0, 1e-38, 1e-45, 3e38, INF, NAN]


def table(rows: NDArray[Any], sums: range) -> Levels:
    """Return the function that looks the code of each sum and channel up in `rows [R, N]`."""

    def levels(asked: NDArray[np.int64]) -> NDArray[np.int64]:
        looked_up: NDArray[np.int64] = np.take_along_axis(
            rows.astype(np.int64), (asked - sums.start) // sums.step, axis=0
        )
        return looked_up

    return levels


@given(st.integers(-60, 60), st.integers(1, 90), st.sampled_from([1, 2]), st.integers(0, 9), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=80)
def test_a_monotone_function_is_met_on_every_sum(start: int, count: int, step: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sums = range(start, start + step * count, step)
    change = rng.integers(0, count + 1, size=channels)  # 0 and count: the bit never changes
    rows = (np.arange(count)[:, None] >= change) != (rng.random(channels) < 0.5)
    thresholds, flips = find_thresholds(table(rows, sums), sums, channels)
    assert (thresholds.dtype, thresholds.shape, flips.shape) == (np.int32, (channels,), (channels,))
    assert np.array_equal((np.array(sums)[:, None] >= thresholds) ^ flips, rows)
    constant = (rows == rows[0]).all(axis=0)
    assert (thresholds[constant] == ALWAYS).all()


@given(
    st.integers(-60, 60),
    st.integers(1, 90),
    st.sampled_from([1, 2]),
    st.integers(0, 5),
    st.integers(1, 15),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=80)
def test_a_monotone_function_to_codes_is_met_on_every_sum(
    start: int, count: int, step: int, channels: int, highest: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sums = range(start, start + step * count, step)
    rows = np.sort(rng.integers(0, highest + 1, size=(count, channels)), axis=0)  # [R, N]
    falls = rng.random(channels) < 0.5
    rows[:, falls] = rows[::-1][:, falls]
    thresholds, flips = find_ladders(table(rows, sums), sums, channels, highest)
    assert (thresholds.dtype, thresholds.shape, flips.shape) == (np.int32, (channels, highest), (channels,))
    assert (np.diff(thresholds.astype(np.int64), axis=1) >= 0).all()
    reached = (np.array(sums)[:, None, None] >= thresholds) ^ flips[:, None]  # [R, N, L]
    assert np.array_equal(reached.sum(axis=2), rows)
    if count > 1:
        assert set(thresholds.ravel().tolist()) <= {ALWAYS, NEVER, *sums[1:]}


@given(st.integers(4, 60), st.integers(1, 5), st.integers(2, 9), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_a_function_to_codes_that_rises_and_falls_is_refused(
    count: int, channels: int, highest: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sums = range(-count, count, 2)
    rows = np.sort(rng.integers(0, highest + 1, size=(count, channels)), axis=0)
    bad = int(rng.integers(channels))
    rows[:, bad] = 0
    rows[rng.integers(1, count - 1), bad] = rng.integers(1, highest + 1)
    with pytest.raises(NotMonotonicError, match=f"channel {bad} "):
        find_ladders(table(rows, sums), sums, channels, highest)


@given(st.integers(3, 60), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=80)
def test_any_other_function_is_refused(count: int, channels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sums = range(-count, count, 2)
    rows = np.zeros((count, channels), dtype=bool)
    bad = rng.integers(channels)
    begin = rng.integers(1, count - 1)
    rows[begin : rng.integers(begin + 1, count), bad] = True  # an island: two changes
    with pytest.raises(NotMonotonicError, match=f"channel {bad} "):
        find_thresholds(table(rows ^ bool(seed % 2), sums), sums, channels)


def test_a_long_range_is_met_by_bisection_and_checked_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherbit.pack._threshold.EXHAUSTIVE", 100)
    sums = range(-(2**20), 2**20 + 1)
    at = np.array([-(2**20), 2**20, 2**20 + 1, 0, 12345, -7])
    thresholds, flips = find_thresholds(lambda s: ((s >= at) ^ (np.arange(6) % 2 == 1)) * 1, sums, 6)
    assert thresholds.tolist() == [ALWAYS, 2**20, ALWAYS, 0, 12345, -7]
    assert flips.tolist() == [False, True, True, True, False, True]
    ladders, flips = find_ladders(lambda s: np.clip(s // 1000, -3, 4)[:, :] + 3, sums, 2, 7)
    assert ladders.tolist() == [[-2000, -1000, 0, 1000, 2000, 3000, 4000]] * 2
    with pytest.raises(NotMonotonicError):
        find_ladders(lambda s: np.clip(s // 1000, 0, 7) - (s == 3995) * 1, sums, 1, 7)
    with pytest.raises(NotMonotonicError):
        find_thresholds(lambda s: (abs(s) >= 2**19) * 1, sums, 1)


def norm_of(channels: int, scale: list[float], shift: list[float], mean: list[float], var: list[float]) -> nn.Module:
    """Return a batch norm with any parameters at all, each list repeated over the channels."""
    norm = nn.BatchNorm1d(channels, eps=1e-4)
    tensors = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    for tensor, values in zip(tensors, (scale, shift, mean, var), strict=True):
        assert tensor is not None
        tensor.data.copy_(torch.tensor(list(itertools.islice(itertools.cycle(values), channels))))
    return norm


def assert_equal_at_every_batch_size(model: nn.Module, graph: Graph, x: torch.Tensor) -> None:
    session = Session(graph)
    model.eval()
    for size in (len(x), 1, 7):
        for batch in x.split(size):
            with torch.no_grad():
                expected = model(batch).numpy()
            assert np.array_equal(session.run(batch.numpy()), expected)


def every_sign_row(k: int) -> torch.Tensor:
    """Return every row of `k` signs, so that every sum occurs."""
    return torch.tensor(list(itertools.product([-1.0, 1.0], repeat=k)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hostile_batch_norms_fold_exactly_on_sign_sums(seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels = 250
    torch.manual_seed(seed)
    picks = [rng.choice(values, size=channels).tolist() for values in (SCALES, SHIFTS, MEANS, VARIANCES)]
    model = nn.Sequential(Sign(), QuantLinear(6, channels, bias=False), norm_of(channels, *picks), Sign())
    x = every_sign_row(6)
    assert_equal_at_every_batch_size(model, pack(model, x), x)


@pytest.mark.parametrize("seed", [0, 1])
def test_hostile_batch_norms_fold_exactly_on_pixel_sums(seed: int) -> None:
    rng = np.random.default_rng(seed)
    channels = 65
    torch.manual_seed(seed)
    picks = [rng.choice(values, size=channels).tolist() for values in (SCALES, SHIFTS, MEANS, VARIANCES)]
    model = nn.Sequential(FixedPointInput(), QuantLinear(1, channels), norm_of(channels, *picks), Sign())
    model[1].bias.data.uniform_(-1, 1)  # type: ignore[operator, union-attr]
    x = torch.arange(256, dtype=torch.uint8)[:, None]
    assert_equal_at_every_batch_size(model, pack(model, x), x)


@pytest.mark.parametrize("scale", [1.0, -1.0, 0.37, -0.37, 0.0, -0.0])
def test_a_sum_that_the_norm_maps_to_zero_is_a_tie_and_gives_plus_one(scale: float) -> None:
    means = [float(mean) for mean in range(-8, 9)]
    model = nn.Sequential(Sign(), QuantLinear(8, 17, bias=False), norm_of(17, [scale], [0.0], means, [0.7]), Sign())
    x = every_sign_row(8)
    graph = pack(model, x)
    assert_equal_at_every_batch_size(model, graph, x)
    op = graph.ops[-1]
    assert isinstance(op, Threshold)
    if scale == 0:
        assert op.thresholds.tolist() == [ALWAYS] * 17


@pytest.mark.parametrize("name", ["infinite variance", "nan scale", "nan mean", "infinite scale"])
def test_a_channel_without_a_real_norm_is_what_torch_makes_of_it(name: str) -> None:
    values = {"infinite variance": (2, INF), "nan scale": (0, NAN), "nan mean": (1, NAN), "infinite scale": (0, INF)}
    place, value = values[name]
    parameters: list[list[float]] = [[1.0], [2.0], [1.0]]
    parameters[place] = [value]
    norm = norm_of(3, parameters[0], [0.25, -0.25, 0.0], parameters[1], parameters[2])
    model = nn.Sequential(Sign(), QuantLinear(5, 3, bias=False), norm, Sign())
    x = every_sign_row(5)
    assert_equal_at_every_batch_size(model, pack(model, x), x)
