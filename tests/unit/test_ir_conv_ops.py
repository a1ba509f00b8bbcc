"""Ops on images, k bits and real values: the types they infer, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featherbit.bits import BitFormat, pack_weight
from featherbit.errors import FileErrorCode, GraphError
from featherbit.ir import (
    SIGN,
    Add,
    AddReal,
    Affine,
    ChannelsLast,
    Clamp,
    Concat,
    Conv2d,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Op,
    PRelu,
    QuantizeLinear,
    Rearrange,
    SumPool2d,
    Threshold,
    ToReal,
    ValueType,
    reference,
)

U2, U8 = BitFormat(2, "unsigned"), BitFormat(8, "unsigned")
ONES = np.ones(3, dtype=np.float32)


def conv(**changes: Any) -> Conv2d:
    fields: dict[str, Any] = {"in_channels": 4, "kernel": (3, 3)} | changes
    k = int(np.prod(fields["kernel"])) * fields["in_channels"] // changes.get("groups", 1)
    fields.setdefault("weight", pack_weight(np.ones((6, k), dtype=int), 1, "sign"))
    return Conv2d(("x",), "y", **fields)


def image(height: int, width: int, channels: int, element: Any = SIGN) -> ValueType:
    return ValueType((height, width, channels), element)


@pytest.mark.parametrize(
    ("op", "inputs", "output"),
    [
        (ChannelsLast(("x",), "y"), [ValueType((3, 5, 4), U8)], ValueType((5, 4, 3), U8)),
        (ChannelsLast(("x",), "y"), [ValueType((3, 5), SIGN)], ValueType((1, 5, 3), SIGN)),
        (ChannelsLast(("x",), "y"), [ValueType((3, 5, 4, 2), SIGN)], ValueType((5, 4, 2, 3), SIGN)),
        (conv(), [image(8, 7, 4)], ValueType((6, 5, 6), "int32")),
        (conv(padding=(1, 0, 2, 3), stride=(2, 3)), [image(8, 7, 4)], ValueType((5, 3, 6), "int32")),
        (conv(dilation=(2, 3)), [image(8, 7, 4)], ValueType((4, 1, 6), "int32")),
        (conv(groups=2), [image(3, 3, 4, U8)], ValueType((1, 1, 6), "int32")),
        (MaxPool2d(("x",), "y", kernel=(2, 3), stride=(2, 2)), [image(5, 5, 3, "float32")], image(2, 2, 3, "float32")),
        (SumPool2d(("x",), "y", kernel=(5, 5)), [image(5, 5, 3)], image(1, 1, 3, "int32")),
        (Add(("a", "b"), "y", a_zero_point=2), [image(2, 1, 3, U2), image(2, 1, 3)], image(2, 1, 3, "int32")),
        (Concat(("a", "b"), "y"), [image(2, 1, 3), image(2, 1, 5)], image(2, 1, 8)),
        (
            Rearrange(("x",), "y", shape=(2, 2), order=np.array([0, 5, 0, 1], np.int32)),
            [image(2, 1, 3, U2)],
            ValueType((2, 2), U2),
        ),
        (ToReal(("x",), "y", zero_point=3), [image(2, 1, 3, U2)], image(2, 1, 3, "float32")),
        (AddReal(("a", "b"), "y"), [ValueType((3,), "float32")] * 2, ValueType((3,), "float32")),
        (PRelu(("x",), "y", slope=ONES), [image(2, 1, 3, "float32")], image(2, 1, 3, "float32")),
        (Clamp(("x",), "y", low=0.0, high=np.inf), [image(2, 1, 3, "float32")], image(2, 1, 3, "float32")),
        (
            Affine(("x",), "y", multiplier=ONES, addend=ONES, fused=False),
            [image(2, 1, 3, "float32")],
            image(2, 1, 3, "float32"),
        ),
        (
            Threshold(("x",), "y", thresholds=np.zeros(3, np.int32), flips=np.zeros(1, np.uint64)),
            [image(2, 1, 3, "int32")],
            image(2, 1, 3),
        ),
        (
            MultiThreshold(("x",), "y", bits=2, thresholds=np.zeros((3, 3), np.int32), flips=np.zeros(1, np.uint64)),
            [image(2, 1, 3, "int32")],
            image(2, 1, 3, U2),
        ),
        (QuantizeLinear(("x",), "y", bits=2, step=0.5, low=0), [image(2, 1, 3, "float32")], image(2, 1, 3, U2)),
    ],
)
def test_an_op_infers_the_type_of_its_output(op: Op, inputs: list[ValueType], output: ValueType) -> None:
    assert op.infer(*inputs) == output


@pytest.mark.parametrize(
    ("op", "inputs", "words"),
    [
        (ChannelsLast(("x",), "y"), [ValueType((3,), U8)], r"\[C, L\] or \[C, H, W\]"),
        (conv(), [image(8, 7, 5)], r"\[H, W, 4\], got sign\[8, 7, 5\]"),
        (conv(), [ValueType((4,), SIGN)], r"\[H, W, 4\], got sign\[4\]"),
        (conv(), [image(8, 7, 4, "int32")], "signs or unsigned codes"),
        (conv(), [image(2, 7, 4)], "a window of 3 places is larger than the padded height 2"),
        (conv(dilation=(1, 4)), [image(8, 7, 4)], "a window of 9 places is larger than the padded width 7"),
        (conv(zero_point=1), [image(8, 7, 4)], "zero_point must be 0"),
        (conv(pad_value=2), [image(8, 7, 4)], "pad_value must be -1 to 1"),
        (conv(pad_value=2, zero_point=2), [image(8, 7, 4, U2)], "pad_value must be -2 to 1"),
        (MaxPool2d(("x",), "y", kernel=(2, 2)), [ValueType((9,), SIGN)], r"\[H, W, C\]"),
        (MaxPool2d(("x",), "y", kernel=(2, 2), padding=(2, 0, 0, 0)), [image(5, 5, 1)], "sees nothing else"),
        (MaxPool2d(("x",), "y", kernel=(2, 2), padding=(0, 0, 0, 2)), [image(5, 5, 1)], "sees nothing else"),
        (
            MaxPool2d(("x",), "y", kernel=(2, 1), dilation=(3, 1), padding=(1, 0, 1, 0)),
            [image(2, 1, 1)],
            "sees nothing else",
        ),
        (SumPool2d(("x",), "y", kernel=(2, 2)), [image(5, 5, 1, "float32")], "signs, unsigned codes or int32"),
        (Add(("a", "b"), "y"), [image(2, 1, 3), image(1, 2, 3)], "two inputs of one shape"),
        (Add(("a", "b"), "y"), [image(2, 1, 3), image(2, 1, 3, "float32")], "signs, unsigned codes or int32"),
        (Concat(("a", "b"), "y"), [image(2, 1, 3), image(2, 1, 3, U2)], "one element"),
        (Concat(("a", "b"), "y"), [image(2, 1, 3), image(1, 1, 3)], "one element, height and width"),
        (ToReal(("x",), "y"), [image(2, 1, 3, "float32")], "signs, unsigned codes or int32"),
        (AddReal(("a", "b"), "y"), [ValueType((3,), "float32"), ValueType((4,), "float32")], r"float32\[3\]"),
        (PRelu(("x",), "y", slope=ONES), [image(2, 3, 1, "float32")], r"float32\[..., 3\], got float32\[2, 3, 1\]"),
        (Clamp(("x",), "y", low=0.0, high=1.0), [image(2, 3, 1)], "float32"),
    ],
)
def test_an_op_refuses_an_input_and_says_why(op: Op, inputs: list[ValueType], words: str) -> None:
    with pytest.raises(GraphError, match=words) as caught:
        op.infer(*inputs)
    assert caught.value.code == FileErrorCode.WRONG_VALUE_TYPE


def ladder(rows: list[list[int]]) -> MultiThreshold:
    flips = np.zeros(1, dtype=np.uint64)
    return MultiThreshold(("x",), "y", bits=2, thresholds=np.array(rows, dtype=np.int32), flips=flips)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: conv(kernel=(3, 0)), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: conv(kernel=(3, 3, 3)), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: conv(stride=2), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: conv(padding=(1, 1)), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: conv(groups=3), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: conv(groups=4), FileErrorCode.WRONG_TENSOR_SHAPE),  # 6 output channels
        (lambda: conv(weight_bits=4), FileErrorCode.WRONG_TENSOR_SHAPE),
        (lambda: conv(weight_bits=9), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: conv(weight_encoding="twos_complement"), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: conv(weight_encoding="unsigned"), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: conv(weight=np.full((6, 1), 2**36, np.uint64)), FileErrorCode.DIRTY_TAIL_BITS),
        (lambda: ladder([[1, 2, 3], [1, 3, 2]]), FileErrorCode.BAD_TENSOR_VALUE),
        (lambda: ladder([[1, 2]]), FileErrorCode.WRONG_TENSOR_SHAPE),
        (
            lambda: Rearrange(("x",), "y", shape=(2,), order=np.array([0, -1], np.int32)),
            FileErrorCode.BAD_TENSOR_VALUE,
        ),
        (lambda: Rearrange(("x",), "y", shape=(3,), order=np.zeros(2, np.int32)), FileErrorCode.WRONG_TENSOR_SHAPE),
        (lambda: Add(("a", "b"), "y", b_multiplier=0), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: Add(("a",), "y"), FileErrorCode.WRONG_INPUT_COUNT),
        (lambda: Concat(("a",), "y"), FileErrorCode.WRONG_INPUT_COUNT),
        (lambda: ToReal(("x",), "y", scale=0.0), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: ToReal(("x",), "y", scale=-1.0), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: ToReal(("x",), "y", scale=2.0**101), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: QuantizeLinear(("x",), "y", step=np.inf), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: QuantizeLinear(("x",), "y", step=np.nan), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: QuantizeLinear(("x",), "y", low=-256), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: Clamp(("x",), "y", low=0.1, high=1.0), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: Clamp(("x",), "y", low=True, high=1.0), FileErrorCode.BAD_ATTRIBUTE),
    ],
)
def test_a_field_that_is_not_as_declared_is_refused(make: Callable[[], Op], code: FileErrorCode) -> None:
    with pytest.raises(GraphError) as caught:
        make()
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("op", "x", "bound"),
    [
        (conv(), image(3, 3, 4), 36),
        (conv(zero_point=128), image(3, 3, 4, U8), 36 * 128),
        (SumPool2d(("x",), "y", kernel=(2, 3)), image(3, 3, 4, U2), 18),
        (SumPool2d(("x",), "y", kernel=(2, 3)), ValueType((3, 3, 4), "int32", 7), 42),
        (MaxPool2d(("x",), "y", kernel=(2, 3)), ValueType((3, 3, 4), "int32", 7), 7),
    ],
)
def test_the_bound_of_a_value_follows_from_its_inputs(op: Op, x: ValueType, bound: int) -> None:
    assert op.infer(x).bound == bound


def test_a_sum_is_bounded_by_the_weights_themselves_where_their_width_alone_would_refuse_it() -> None:
    k = 2**12
    weight = np.where(np.arange(k) < 100, -128, 1)[None]  # [1, K]: 255 * 128 * K is past 2^24

    def make(matrix: Any) -> Linear:
        words = pack_weight(matrix, 8, "twos_complement")
        return Linear(("x",), "y", weight=words, in_features=k, weight_bits=8, weight_encoding="twos_complement")

    assert make(weight).infer(ValueType((k,), U8)).bound == 255 * 12800
    large = -np.abs(weight) * 17 % 128
    assert make(large).infer(ValueType((k,), U8)).bound == 255 * large.sum() > 2**24


def test_weights_are_read_back_as_integers() -> None:
    weight = np.array([[-4, 3, 0, -1], [1, 2, -3, -2]])
    op = Linear(
        ("x",),
        "y",
        weight=pack_weight(weight, 3, "twos_complement"),
        in_features=4,
        weight_bits=3,
        weight_encoding="twos_complement",
    )
    assert op.out_features == 2
    assert op.integer_weight().dtype == np.int32
    assert op.integer_weight().tolist() == weight.tolist()


def test_nan_wins_a_pool_is_code_0_and_survives_what_is_real() -> None:
    x = np.array([1.0, np.nan, -2.0, 5.0], dtype=np.float32).reshape(1, 1, 4, 1)
    pool = MaxPool2d(("x",), "y", kernel=(1, 2), stride=(1, 2))
    assert np.isnan(reference.RULES[MaxPool2d](pool, x)).ravel().tolist() == [True, False]
    codes = reference.RULES[QuantizeLinear](QuantizeLinear(("x",), "y", bits=2, step=1.0, low=-2), x)
    assert codes.ravel().tolist() == [3, 0, 0, 3]
    for op in (Clamp(("x",), "y", low=0.0, high=1.0), PRelu(("x",), "y", slope=ONES[:1])):
        assert np.isnan(reference.RULES[type(op)](op, x)).ravel().tolist() == [False, True, False, False]


def test_the_first_of_two_zeros_wins_a_pool() -> None:
    x = np.array([0.0, -0.0, -0.0, 0.0], dtype=np.float32).reshape(1, 1, 4, 1)
    pool = MaxPool2d(("x",), "y", kernel=(1, 2), stride=(1, 2))
    assert np.signbit(reference.RULES[MaxPool2d](pool, x)).ravel().tolist() == [False, True]


def test_adding_minus_zero_keeps_the_sign_of_a_zero() -> None:
    x = np.array([0.0, -0.0], dtype=np.float32).reshape(2, 1)
    op = Affine(("x",), "y", multiplier=ONES[:1], addend=-0.0 * ONES[:1], fused=False)
    assert np.signbit(reference.RULES[Affine](op, x)).ravel().tolist() == [False, True]
