"""The reference interpreter: each rule at its edges, and what input it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featherbit.bits import pack_sign
from featherbit.errors import InputError
from featherbit.ir import Affine, Graph, Input, Linear, PackSign, QuantizeLinear, Threshold, reference
from strategies_ir import every_op


def run(x: list[float] | NDArray[Any], *ops: Any, dtype: Any = "float32") -> NDArray[Any]:
    """Run ops on one row of input, the first reading `x`, and return the last value's row."""
    batch = np.array([x], dtype=dtype)
    graph = Graph((Input((), "x", shape=batch.shape[1:], dtype=dtype), *ops), ops[-1].output)
    return reference.run(graph, batch)[ops[-1].output][0]


def ones(source: str, output: str, k: int, **fields: Any) -> Linear:
    return Linear((source,), output, weight=pack_sign(np.ones((1, k))), in_features=k, **fields)


def test_both_zeros_are_plus_one() -> None:
    assert run([0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf], PackSign(("x",), "y")).tolist() == [1, 1, 1, -1, 1, -1]


def test_quantizing_rounds_ties_to_even_and_clips_at_both_ends() -> None:
    x = np.array([0, 0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 1e30, np.inf, -128, -128.5, -np.inf]) / 128
    codes = run(x, QuantizeLinear(("x",), "y")) - np.int64(128)
    assert codes.tolist() == [0, 0, 2, 2, 0, -2, 126, 127, 127, 127, -128, -128, -128]


def test_quantizing_the_largest_float_does_not_warn() -> None:
    largest = np.finfo(np.float32).max
    assert run([largest, -largest], QuantizeLinear(("x",), "y", bits=1)).tolist() == [1, 0]


def test_linear_on_codes_subtracts_the_zero_point() -> None:
    assert run([0, 128, 255], ones("x", "y", 3, zero_point=128), dtype="uint8").tolist() == [-1]


def test_linear_reaches_its_bound_exactly() -> None:
    x = np.zeros(2**17, dtype=np.uint8)
    assert run(x, ones("x", "y", 2**17, zero_point=128), dtype="uint8").tolist() == [-(2**24)]


@pytest.mark.parametrize(
    ("threshold", "flip", "bits"),
    [
        (0, 0, [-1, 1, 1]),
        (0, 1, [1, -1, -1]),
        (-(2**31), 0, [1, 1, 1]),
        (-(2**31), 1, [-1, -1, -1]),
        (2**31 - 1, 0, [-1, -1, -1]),
    ],
)
def test_a_threshold_is_met_by_its_equal_and_turned_by_its_flip(threshold: int, flip: int, bits: list[int]) -> None:
    op = Threshold(("s",), "y", thresholds=np.array([threshold], np.int32), flips=np.array([flip], np.uint64))
    assert [run([x], ones("x", "s", 1, zero_point=1), op, dtype="uint8")[0] for x in (0, 1, 2)] == bits


def test_fused_and_unfused_differ_by_a_rounding() -> None:
    # 3 * (1/3 in float32) is 1 + 2^-25: the product alone rounds to 1.
    third = np.array([1 / 3], dtype=np.float32)
    results = [
        run(
            [128],
            ones("x", "s", 1, zero_point=125),
            Affine(("s",), "y", multiplier=third, addend=-np.ones(1, np.float32), fused=fused),
            dtype="uint8",
        ).tolist()
        for fused in (True, False)
    ]
    assert results == [[2.0**-25], [0.0]]


def test_a_batch_may_be_empty() -> None:
    values = reference.run(every_op(), np.zeros((0, 2, 35), dtype=np.float32))
    assert {name: value.shape for name, value in values.items()} == {
        "x": (0, 2, 35),
        "flat": (0, 70),
        "codes": (0, 70),
        "sum1": (0, 66),
        "bits1": (0, 66),
        "sum2": (0, 5),
        "y": (0, 5),
    }


def test_values_have_the_promised_dtypes() -> None:
    values = reference.run(every_op(), np.zeros((1, 2, 35), dtype=np.float32))
    dtypes = [str(value.dtype) for value in values.values()]
    assert dtypes == ["float32", "float32", "uint8", "int32", "int8", "int32", "float32"]


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((1, 2, 35)),
        np.zeros((1, 2, 35), dtype=np.uint8),
        np.zeros((1, 2, 35), dtype=">f4"),
        np.zeros((1, 70), dtype=np.float32),
        np.zeros((2, 35), dtype=np.float32),
        np.zeros((), dtype=np.float32),
        np.full((1, 2, 35), np.nan, dtype=np.float32),
        [[[0.0] * 35] * 2],
    ],
)
def test_input_of_another_dtype_or_shape_or_with_nan_is_refused(x: Any) -> None:
    with pytest.raises(InputError, match="the input"):
        reference.run(every_op(), x)
