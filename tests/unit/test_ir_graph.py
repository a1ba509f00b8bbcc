"""A graph is checked when it is built, and never changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from featherbit.bits import pack_sign
from featherbit.errors import FileErrorCode, GraphError
from featherbit.ir import Flatten, Graph, Input, Linear, Op, PackSign
from strategies_ir import every_op

X = Input((), "x", shape=(2, 35), dtype="float32")


def refusal(*ops: Op, output: str = "y") -> tuple[FileErrorCode, str]:
    with pytest.raises(GraphError) as caught:
        Graph(ops, output)
    return caught.value.code, str(caught.value)


def test_a_graph_knows_the_type_of_every_value() -> None:
    graph = every_op()
    assert {name: str(kind) for name, kind in graph.types.items()} == {
        "x": "float32[2, 35]",
        "flat": "float32[70]",
        "codes": "u8[70]",
        "sum1": "int32[66]",
        "bits1": "sign[66]",
        "sum2": "int32[5]",
        "y": "float32[5]",
    }
    assert graph.input is graph.ops[0]
    assert graph.op_of("sum2") is graph.ops[5]


def test_a_graph_may_be_a_lone_input() -> None:
    assert str(Graph((X,), "x").types["x"]) == "float32[2, 35]"


def test_asking_for_a_value_that_is_not_there_says_which_are() -> None:
    with pytest.raises(GraphError, match=r"no value 'z'; it has x, flat, codes"):
        every_op().op_of("z")


def test_a_value_may_be_read_twice() -> None:
    class Twice(Op):
        input_count = 2

        def infer(self, *inputs):  # type: ignore[no-untyped-def]
            return inputs[0]

    assert list(Graph((X, Flatten(("x",), "f"), Twice(("f", "f"), "y")), "y").types) == ["x", "f", "y"]


def test_a_graph_without_an_input_is_refused() -> None:
    assert refusal()[0] == FileErrorCode.MISPLACED_INPUT
    assert refusal(Flatten(("x",), "y"))[0] == FileErrorCode.MISPLACED_INPUT


def test_an_input_that_is_not_the_first_op_or_not_alone_is_refused() -> None:
    assert refusal(Flatten(("x",), "y"), X)[0] == FileErrorCode.MISPLACED_INPUT
    assert refusal(X, dataclasses.replace(X, output="y"))[0] == FileErrorCode.MISPLACED_INPUT


def test_a_value_written_twice_is_refused() -> None:
    code, message = refusal(X, Flatten(("x",), "y"), PackSign(("y",), "y"))
    assert code == FileErrorCode.DUPLICATE_VALUE
    assert message == "PackSign 'y': another op writes this value already"


def test_a_value_that_no_op_writes_is_refused() -> None:
    assert refusal(X, Flatten(("z",), "y")) == (
        FileErrorCode.UNKNOWN_VALUE,
        "Flatten 'y': reads 'z', which no op writes",
    )
    assert refusal(X, Flatten(("x",), "y"), output="z")[0] == FileErrorCode.UNKNOWN_VALUE


def test_a_cycle_is_refused() -> None:
    assert refusal(X, Flatten(("y",), "f"), PackSign(("f",), "y"))[0] == FileErrorCode.CYCLE
    assert refusal(X, Flatten(("y",), "y"))[0] == FileErrorCode.CYCLE


def test_ops_out_of_order_are_refused() -> None:
    assert refusal(X, PackSign(("f",), "y"), Flatten(("x",), "f"))[0] == FileErrorCode.CYCLE


def test_an_op_whose_value_nobody_reads_is_refused() -> None:
    code, message = refusal(X, Flatten(("x",), "f"), PackSign(("f",), "s"), output="f")
    assert (code, message) == (FileErrorCode.UNUSED_VALUE, "PackSign 's': its value is not used; remove the op")


def test_a_type_that_does_not_fit_is_refused_with_the_layers_path() -> None:
    weight = pack_sign(np.ones((3, 70)))
    linear = Linear(("s",), "y", "net.0", weight=weight, in_features=70)
    code, message = refusal(X, PackSign(("x",), "s"), linear)
    assert code == FileErrorCode.WRONG_VALUE_TYPE
    assert message.startswith("Linear 'y' (layer net.0): needs an input of signs or unsigned codes")
    assert message.endswith("shape [70], got sign[2, 35]")


def test_graphs_are_equal_when_their_ops_are() -> None:
    graph = every_op()
    assert graph == every_op()
    assert hash(graph) == hash(every_op())
    assert graph != Graph(graph.ops[:-1], "sum2")


def test_a_graph_cannot_change() -> None:
    graph = every_op()
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.output = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        graph.types["x"] = graph.types["y"]  # type: ignore[index]
