"""The ops of a packed network: what they accept, what they refuse and how they compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featherbit.bits import BitFormat, pack_sign, pack_weight
from featherbit.errors import FileErrorCode, GraphError
from featherbit.ir import (
    OPS,
    Affine,
    Flatten,
    Input,
    Linear,
    Op,
    PackSign,
    QuantizeLinear,
    State,
    Threshold,
    ValueType,
    operation,
    reference,
)
from recurrent_graphs import gated_graph
from strategies_conv import every_conv_op

SIGN = BitFormat(1, "sign")
U8 = BitFormat(8, "unsigned")
WEIGHT = pack_sign(np.ones((3, 70)))


def make_linear(**changes: Any) -> Linear:
    return Linear(("x",), "y", **({"weight": WEIGHT, "in_features": 70} | changes))


def make_threshold(**changes: Any) -> Threshold:
    arrays = {"thresholds": np.zeros(3, dtype=np.int32), "flips": np.zeros(1, dtype=np.uint64)}
    return Threshold(("x",), "y", **(arrays | changes))


def make_affine(**changes: Any) -> Affine:
    arrays = {"multiplier": np.ones(3, dtype=np.float32), "addend": np.zeros(3, dtype=np.float32), "fused": True}
    return Affine(("x",), "y", **(arrays | changes))


@pytest.mark.parametrize(
    ("op", "inputs", "output"),
    [
        (Input((), "x", shape=(2, 3), dtype="uint8"), [], ValueType((2, 3), U8)),
        (Input((), "x", shape=(2, 3), dtype="float32"), [], ValueType((2, 3), "float32")),
        (Flatten(("x",), "y"), [ValueType((2, 3), SIGN)], ValueType((6,), SIGN)),
        (PackSign(("x",), "y"), [ValueType((2, 3), "float32")], ValueType((2, 3), SIGN)),
        (QuantizeLinear(("x",), "y"), [ValueType((2,), "float32")], ValueType((2,), U8)),
        (QuantizeLinear(("x",), "y", bits=3), [ValueType((2,), "float32")], ValueType((2,), BitFormat(3, "unsigned"))),
        (make_linear(), [ValueType((70,), SIGN)], ValueType((3,), "int32")),
        (make_linear(zero_point=128), [ValueType((70,), U8)], ValueType((3,), "int32")),
        (make_threshold(), [ValueType((3,), "int32")], ValueType((3,), SIGN)),
        (make_affine(), [ValueType((3,), "int32")], ValueType((3,), "float32")),
    ],
)
def test_an_op_infers_the_type_of_its_output(op: Op, inputs: list[ValueType], output: ValueType) -> None:
    assert op.infer(*inputs) == output


@pytest.mark.parametrize(
    ("op", "input_type", "words"),
    [
        (PackSign(("x",), "y"), ValueType((3,), "int32"), "float32"),
        (QuantizeLinear(("x",), "y"), ValueType((3,), SIGN), "float32"),
        (make_linear(), ValueType((70,), "float32"), "signs or unsigned codes"),
        (make_linear(), ValueType((70,), "int32"), "signs or unsigned codes"),
        (make_linear(), ValueType((70,), BitFormat(8, "twos_complement")), "signs or unsigned codes"),
        (make_linear(), ValueType((69,), SIGN), r"\[70\], got sign\[69\]"),
        (make_linear(), ValueType((7, 10), SIGN), r"\[70\], got sign\[7, 10\]"),
        (make_linear(zero_point=1), ValueType((70,), SIGN), "zero_point must be 0"),
        (make_linear(zero_point=16), ValueType((70,), BitFormat(4, "unsigned")), "0 to 15, got 16"),
        (make_threshold(), ValueType((4,), "int32"), r"int32\[..., 3\], got int32\[4\]"),
        (make_threshold(), ValueType((3,), SIGN), r"int32\[..., 3\], got sign\[3\]"),
        (make_affine(), ValueType((3,), SIGN), r"int32\[..., 3\], got sign\[3\]"),
    ],
)
def test_an_op_refuses_an_input_and_says_what_came_and_what_it_needs(op: Op, input_type: ValueType, words: str) -> None:
    with pytest.raises(GraphError, match=words) as caught:
        op.infer(input_type)
    assert caught.value.code == FileErrorCode.WRONG_VALUE_TYPE


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: make_linear(weight=WEIGHT.astype(np.int64)), FileErrorCode.WRONG_TENSOR_DTYPE),
        (lambda: make_linear(weight=WEIGHT.astype(">u8")), FileErrorCode.WRONG_TENSOR_DTYPE),
        (lambda: make_linear(weight=WEIGHT.tolist()), FileErrorCode.WRONG_TENSOR_DTYPE),
        (lambda: make_linear(weight=WEIGHT[0]), FileErrorCode.WRONG_TENSOR_SHAPE),
        (lambda: make_linear(weight=WEIGHT[:, :1]), FileErrorCode.WRONG_TENSOR_SHAPE),
        (lambda: make_linear(weight=WEIGHT[:0]), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: make_linear(in_features=129), FileErrorCode.WRONG_TENSOR_SHAPE),
        (lambda: make_linear(in_features=69), FileErrorCode.DIRTY_TAIL_BITS),
        (lambda: make_linear(in_features=0), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: make_linear(in_features=2**31), FileErrorCode.SIZE_OVERFLOW),
        (lambda: make_linear(in_features=70.0), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: make_linear(in_features=True), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: make_linear(zero_point=256), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: make_linear(zero_point=-1), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: make_threshold(thresholds=np.zeros(3)), FileErrorCode.WRONG_TENSOR_DTYPE),
        (lambda: make_threshold(thresholds=np.zeros(65, dtype=np.int32)), FileErrorCode.WRONG_TENSOR_SHAPE),
        (lambda: make_threshold(flips=np.array([8], dtype=np.uint64)), FileErrorCode.DIRTY_TAIL_BITS),
        (lambda: make_affine(addend=np.zeros(4, dtype=np.float32)), FileErrorCode.WRONG_TENSOR_SHAPE),
        (lambda: make_affine(fused=1), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: QuantizeLinear(("x",), "y", bits=0), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: QuantizeLinear(("x",), "y", bits=9), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: Input((), "x", shape=(), dtype="uint8"), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: Input((), "x", shape=(1,) * 9, dtype="uint8"), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: Input((), "x", shape=(0, 3), dtype="uint8"), FileErrorCode.BAD_ATTRIBUTE),
        (lambda: Input((), "x", shape=(2**31,), dtype="uint8"), FileErrorCode.SIZE_OVERFLOW),
        (lambda: Input((), "x", shape=(3,), dtype="int8"), FileErrorCode.BAD_ATTRIBUTE),  # type: ignore[arg-type]
        (lambda: Input(("w",), "x", shape=(3,), dtype="uint8"), FileErrorCode.WRONG_INPUT_COUNT),
        (lambda: Flatten((), "y"), FileErrorCode.WRONG_INPUT_COUNT),
        (lambda: Flatten(("a", "b"), "y"), FileErrorCode.WRONG_INPUT_COUNT),
        (lambda: Flatten(("x",), ""), FileErrorCode.BAD_NAME),
        (lambda: Flatten(("x",), "a b"), FileErrorCode.BAD_NAME),
        (lambda: Flatten(("x",), "y\n"), FileErrorCode.BAD_NAME),
        (lambda: Flatten(("x",), "y" * 201), FileErrorCode.BAD_NAME),
        (lambda: Flatten((3,), "y"), FileErrorCode.BAD_NAME),  # type: ignore[arg-type]
        (lambda: Flatten(("x",), "y", "\ud800"), FileErrorCode.BAD_NAME),
    ],
)
def test_a_field_that_is_not_as_declared_is_refused(make: Callable[[], Op], code: FileErrorCode) -> None:
    with pytest.raises(GraphError) as caught:
        make()
    assert caught.value.code == code


def test_a_shape_of_too_many_elements_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(GraphError, match="more than 2147483647 elements") as caught:
        Input((), "x", shape=(2**16, 2**15), dtype="uint8").infer()
    assert caught.value.code == FileErrorCode.SIZE_OVERFLOW
    assert Input((), "x", shape=(2**16, 2**15 - 1), dtype="uint8").infer().size == 2**31 - 2**16


@pytest.mark.parametrize(("k", "zero_point"), [(65793, 0), (65793, 255), (131071, 128)])
def test_linear_allows_sums_below_2_to_the_31_and_no_larger(k: int, zero_point: int) -> None:
    def infer(k: int) -> ValueType:
        weight = pack_weight(np.full((1, k), -128), 8, "twos_complement")
        options: dict[str, Any] = {"weight_bits": 8, "weight_encoding": "twos_complement", "zero_point": zero_point}
        return make_linear(weight=weight, in_features=k, **options).infer(ValueType((k,), U8))

    assert infer(k) == ValueType((1,), "int32")
    assert infer(k).bound == k * 128 * max(zero_point, 255 - zero_point)
    with pytest.raises(GraphError, match=r"past 2\^31") as caught:
        infer(k + 1)
    assert caught.value.code == FileErrorCode.INEXACT_SUM


def test_a_message_names_the_op_its_layer_and_the_field() -> None:
    with pytest.raises(
        GraphError, match=r"Linear 'y' \(layer features\.3\): in_features must be 1 to 2147483647, got 0"
    ):
        Linear(("x",), "y", "features.3", weight=WEIGHT, in_features=0)


def test_arrays_become_read_only_copies_that_their_giver_cannot_change() -> None:
    given = np.zeros(3, dtype=np.int32)
    op = make_threshold(thresholds=given)
    given[0] = 7
    assert op.thresholds.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        op.thresholds[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        op.output = "z"  # type: ignore[misc]


def test_arrays_become_contiguous() -> None:
    op = make_linear(weight=np.asfortranarray(WEIGHT))
    assert op.weight.flags.c_contiguous
    assert np.array_equal(op.weight, WEIGHT)


def test_infinities_and_nan_are_allowed_where_batch_norm_can_leave_them() -> None:
    values = np.array([np.nan, np.inf, -np.inf], dtype=np.float32)
    assert make_affine(multiplier=values, addend=values) == make_affine(multiplier=values.copy(), addend=values.copy())


def test_ops_are_equal_when_everything_in_them_is_to_the_bit() -> None:
    assert make_affine() == make_affine()
    assert hash(make_affine()) == hash(make_affine())
    assert make_affine() != make_affine(fused=False)
    assert make_affine() != make_affine(addend=np.array([-0.0, 0, 0], dtype=np.float32))
    assert make_affine() != dataclasses.replace(make_affine(), path="layers.1")
    assert make_affine() != make_threshold()
    assert make_affine() != "y"


def test_every_op_has_a_rule_in_the_reference_interpreter() -> None:
    assert set(OPS.values()) == {Input, State, *reference.RULES}
    assert {type(op) for op in (*every_conv_op().ops, *gated_graph().ops)} == set(OPS.values())


def test_an_op_of_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(GraphError, match="registered already"):
        operation(type("Linear", (Op,), {}))
