"""A file can be wrong in many ways; each has its own code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featherbit.errors import FileError, FileErrorCode
from featherbit.ir import load, save
from oracles_ir import Parts, container
from strategies_conv import every_conv_op
from strategies_ir import every_op

Code = FileErrorCode
Change = Callable[[Parts], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "net.fbit"
    save(every_op(), path)
    return path.read_bytes()


def code_of(path: Path) -> FileErrorCode:
    with pytest.raises(FileError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return caught.value.code


def words(*values: int) -> bytes:
    return np.array(values, dtype="<u8").tobytes()


def set_dtype(parts: Parts, tensor: str, dtype: str) -> None:
    parts.header[tensor]["dtype"] = dtype


def set_offsets(parts: Parts, tensor: str, begin: int, end: int) -> None:
    old = parts.header[tensor]["data_offsets"]
    parts.header[tensor]["data_offsets"] = [old[0] + begin, old[1] + end]


def reverse(parts: Parts, tensor: str) -> None:
    begin, end = parts.header[tensor]["data_offsets"]
    numbers = np.frombuffer(parts.body[begin:end], dtype="<i4")[::-1]
    parts.body = parts.body[:begin] + numbers.tobytes() + parts.body[end:]


def linear_of(k: int) -> Change:
    """Return a change to inputs and weights of `k` features, all 255 below the zero point and -128."""

    def change(parts: Parts) -> None:
        parts.op("x")["attributes"] = {"shape": [k], "dtype": "float32"}
        parts.op("sum1")["attributes"] = {
            "in_features": k,
            "zero_point": 255,
            "weight_bits": 8,
            "weight_encoding": "twos_complement",
        }
        n_words = (k + 63) // 64
        row = ((1 << k) - 1).to_bytes(n_words * 8, "little")  # the bits of the highest plane
        parts.replace("sum1.weight", "U64", [8 * 66, n_words], bytes(7 * 66 * n_words * 8) + 66 * row)

    return change


CHANGES: list[tuple[str, FileErrorCode, Change]] = [
    ("metadata is no object", Code.NOT_SAFETENSORS, lambda p: p.header.update(__metadata__=[])),
    ("metadata is no text", Code.NOT_SAFETENSORS, lambda p: p.header["__metadata__"].update(other=1)),
    ("a tensor without shape", Code.NOT_SAFETENSORS, lambda p: p.header["y.addend"].pop("shape")),
    ("a tensor with more keys", Code.NOT_SAFETENSORS, lambda p: p.header["y.addend"].update(strides=[1])),
    ("a tensor that is a number", Code.NOT_SAFETENSORS, lambda p: p.header.update({"y.addend": 3})),
    ("a negative size", Code.NOT_SAFETENSORS, lambda p: p.header["y.addend"].update(shape=[-5])),
    ("a fractional size", Code.NOT_SAFETENSORS, lambda p: p.header["y.addend"].update(shape=[5.0])),
    ("a size that is true", Code.NOT_SAFETENSORS, lambda p: p.header["y.addend"].update(shape=[True])),
    ("one offset", Code.NOT_SAFETENSORS, lambda p: p.header["y.addend"].update(data_offsets=[0])),
    ("a gap", Code.BAD_TENSOR_LAYOUT, lambda p: set_offsets(p, "y.addend", 4, 4)),
    ("an overlap", Code.BAD_TENSOR_LAYOUT, lambda p: set_offsets(p, "y.addend", -4, -4)),
    ("fewer bytes than the shape has", Code.BAD_TENSOR_LAYOUT, lambda p: set_offsets(p, "y.addend", 0, -4)),
    ("offsets in reverse", Code.BAD_TENSOR_LAYOUT, lambda p: set_offsets(p, "y.addend", 20, -20)),
    ("another shape than bytes", Code.BAD_TENSOR_LAYOUT, lambda p: p.header["y.addend"].update(shape=[6])),
    ("a tensor past 2^63 bytes", Code.SIZE_OVERFLOW, lambda p: p.header["y.addend"].update(shape=[2**40, 2**40])),
    ("no graph", Code.NOT_FEATHERBIT, lambda p: p.header["__metadata__"].pop("featherbit")),
    ("no metadata", Code.NOT_FEATHERBIT, lambda p: p.header.pop("__metadata__")),
    ("the next version", Code.WRONG_VERSION, lambda p: p.graph.update(format_version=3)),
    ("version 0", Code.WRONG_VERSION, lambda p: p.graph.update(format_version=0)),
    (
        "version 1 with the attributes of version 2",
        Code.BAD_ATTRIBUTE,
        lambda p: p.graph.update(format_version=1),
    ),
    ("a version as text", Code.WRONG_VERSION, lambda p: p.graph.update(format_version="1")),
    ("a version as a fraction", Code.WRONG_VERSION, lambda p: p.graph.update(format_version=1.0)),
    ("a version that is true", Code.WRONG_VERSION, lambda p: p.graph.update(format_version=True)),
    ("no version", Code.WRONG_VERSION, lambda p: p.graph.pop("format_version")),
    (
        "the next version, of another structure",
        Code.WRONG_VERSION,
        lambda p: vars(p).update(graph={"format_version": 3}),
    ),
    ("a graph that is a list", Code.WRONG_VERSION, lambda p: vars(p).update(graph=[])),
    ("no ops", Code.BAD_GRAPH_JSON, lambda p: p.graph.pop("ops")),
    ("an unknown key", Code.BAD_GRAPH_JSON, lambda p: p.graph.update(name="net")),
    ("ops that are no list", Code.BAD_GRAPH_JSON, lambda p: p.graph.update(ops={})),
    ("an op that is no object", Code.BAD_GRAPH_JSON, lambda p: p.graph.update(ops=["Input"])),
    ("an op without a path", Code.BAD_GRAPH_JSON, lambda p: p.op("flat").pop("path")),
    ("an op with more keys", Code.BAD_GRAPH_JSON, lambda p: p.op("flat").update(axis=1)),
    ("an output that is a number", Code.BAD_GRAPH_JSON, lambda p: p.op("flat").update(output=3)),
    ("inputs that are a string", Code.BAD_GRAPH_JSON, lambda p: p.op("flat").update(inputs="x")),
    ("attributes that are a list", Code.BAD_GRAPH_JSON, lambda p: p.op("flat").update(attributes=[])),
    ("a missing tensor", Code.MISSING_TENSOR, lambda p: p.drop("y.addend")),
    ("a tensor of no op", Code.EXTRA_TENSOR, lambda p: p.append("z.weight", "U8", [1], b"\0")),
    ("an unknown op", Code.UNKNOWN_OP, lambda p: p.op("flat").update(op="Reshape")),
    ("the base of all ops", Code.UNKNOWN_OP, lambda p: p.op("flat").update(op="Op")),
    ("an empty name", Code.BAD_NAME, lambda p: p.op("flat").update(output="")),
    ("a name with a space", Code.BAD_NAME, lambda p: p.op("flat").update(output="flat x")),
    ("an input that is a number", Code.BAD_NAME, lambda p: p.op("flat").update(inputs=[3])),
    ("a path that is no Unicode", Code.BAD_NAME, lambda p: p.op("flat").update(path="\ud800")),
    ("a missing attribute", Code.BAD_ATTRIBUTE, lambda p: p.op("y")["attributes"].pop("fused")),
    ("an attribute of another op", Code.BAD_ATTRIBUTE, lambda p: p.op("y")["attributes"].update(bits=8)),
    ("an array among the attributes", Code.BAD_ATTRIBUTE, lambda p: p.op("y")["attributes"].update(addend=[0] * 5)),
    ("a number instead of true", Code.BAD_ATTRIBUTE, lambda p: p.op("y")["attributes"].update(fused=1)),
    ("an attribute out of range", Code.BAD_ATTRIBUTE, lambda p: p.op("codes")["attributes"].update(bits=9)),
    ("a shape of no dimension", Code.BAD_ATTRIBUTE, lambda p: p.op("x")["attributes"].update(shape=[])),
    ("a shape of size 0", Code.BAD_ATTRIBUTE, lambda p: p.op("x")["attributes"].update(shape=[0, 35])),
    ("a dimension past 2^31", Code.SIZE_OVERFLOW, lambda p: p.op("x")["attributes"].update(shape=[2**31])),
    ("a shape past 2^31", Code.SIZE_OVERFLOW, lambda p: p.op("x")["attributes"].update(shape=[2**16, 2**16])),
    ("features past 2^64", Code.SIZE_OVERFLOW, lambda p: p.op("sum1")["attributes"].update(in_features=10**30)),
    ("signed words", Code.WRONG_TENSOR_DTYPE, lambda p: set_dtype(p, "sum2.weight", "I64")),
    ("a dtype that no op uses", Code.WRONG_TENSOR_DTYPE, lambda p: set_dtype(p, "y.addend", "C64")),
    ("a row of words too many", Code.WRONG_TENSOR_SHAPE, lambda p: p.replace("bits1.flips", "U64", [3], bytes(24))),
    ("another rank", Code.WRONG_TENSOR_SHAPE, lambda p: p.header["sum2.weight"].update(shape=[10])),
    ("a hundred dimensions", Code.WRONG_TENSOR_SHAPE, lambda p: p.header["y.addend"].update(shape=[5] + [1] * 99)),
    ("nine dimensions", Code.WRONG_TENSOR_SHAPE, lambda p: p.header["y.addend"].update(shape=[5] + [1] * 8)),
    ("no output channel", Code.BAD_ATTRIBUTE, lambda p: p.replace("sum2.weight", "U64", [0, 2], b"")),
    ("a bit past the row", Code.DIRTY_TAIL_BITS, lambda p: p.replace("bits1.flips", "U64", [2], words(0, 4))),
    ("no input", Code.MISPLACED_INPUT, lambda p: p.graph["ops"].pop(0)),
    ("two inputs", Code.MISPLACED_INPUT, lambda p: p.graph["ops"].insert(1, p.op("x") | {"output": "x2"})),
    ("no op at all", Code.EXTRA_TENSOR, lambda p: p.graph.update(ops=[])),
    ("one input too many", Code.WRONG_INPUT_COUNT, lambda p: p.op("flat").update(inputs=["x", "x"])),
    ("an unknown value", Code.UNKNOWN_VALUE, lambda p: p.op("flat").update(inputs=["z"])),
    ("an unknown output", Code.UNKNOWN_VALUE, lambda p: p.graph.update(output="z")),
    ("a value written twice", Code.DUPLICATE_VALUE, lambda p: p.graph["ops"].append(p.op("y"))),
    ("a value nobody reads", Code.UNUSED_VALUE, lambda p: p.graph.update(output="sum2")),
    ("an op that reads itself", Code.CYCLE, lambda p: p.op("flat").update(inputs=["flat"])),
    ("a cycle of several ops", Code.CYCLE, lambda p: p.op("sum1").update(inputs=["bits1"])),
    ("ops out of order", Code.CYCLE, lambda p: p.graph["ops"].append(p.graph["ops"].pop(2))),
    ("a type that does not fit", Code.WRONG_VALUE_TYPE, lambda p: p.op("sum2").update(inputs=["sum1"])),
    ("a shape that does not fit", Code.WRONG_VALUE_TYPE, lambda p: p.op("x")["attributes"].update(shape=[71])),
    ("sums that int32 cannot hold", Code.INEXACT_SUM, linear_of(65794)),
]

CONV_CHANGES: list[tuple[str, FileErrorCode, Change]] = [
    ("thresholds out of order", Code.BAD_TENSOR_VALUE, lambda p: reverse(p, "codes1.thresholds")),
    ("an index out of range", Code.BAD_TENSOR_VALUE, lambda p: p.op("x")["attributes"].update(shape=[2, 2, 2])),
    ("no plane of weights", Code.BAD_ATTRIBUTE, lambda p: p.op("sum1")["attributes"].update(weight_bits=0)),
    ("planes that are missing", Code.WRONG_TENSOR_SHAPE, lambda p: p.op("sum1")["attributes"].update(weight_bits=5)),
    ("an unknown encoding", Code.BAD_ATTRIBUTE, lambda p: p.op("sum1")["attributes"].update(weight_encoding="octal")),
    ("a kernel of one number", Code.BAD_ATTRIBUTE, lambda p: p.op("sum1")["attributes"].update(kernel=3)),
    ("a kernel of no place", Code.BAD_ATTRIBUTE, lambda p: p.op("pooled")["attributes"].update(kernel=[0, 1])),
    ("a negative padding", Code.BAD_ATTRIBUTE, lambda p: p.op("pooled")["attributes"].update(padding=[-1, 0, 0, 0])),
    ("a huge padding", Code.BAD_ATTRIBUTE, lambda p: p.op("pooled")["attributes"].update(padding=[65536, 0, 0, 0])),
    ("a window of padding", Code.WRONG_VALUE_TYPE, lambda p: p.op("pooled")["attributes"].update(padding=[2, 0, 0, 0])),
    ("a kernel past the image", Code.WRONG_VALUE_TYPE, lambda p: p.op("sums")["attributes"].update(kernel=[4, 1])),
    ("groups that do not divide", Code.BAD_ATTRIBUTE, lambda p: p.op("sum2")["attributes"].update(groups=2)),
    ("one input to join", Code.WRONG_INPUT_COUNT, lambda p: p.op("wide").update(inputs=["pooled"])),
    ("a scale that rounds", Code.BAD_ATTRIBUTE, lambda p: p.op("real")["attributes"].update(scale=0.3)),
    ("a step of 0", Code.BAD_ATTRIBUTE, lambda p: p.op("codes2")["attributes"].update(step=0)),
    ("a step that is no float32", Code.BAD_ATTRIBUTE, lambda p: p.op("codes2")["attributes"].update(step=0.1)),
    ("a step past float32", Code.BAD_ATTRIBUTE, lambda p: p.op("codes2")["attributes"].update(step=10**400)),
    ("a step in words", Code.BAD_ATTRIBUTE, lambda p: p.op("codes2")["attributes"].update(step="third")),
    ("bounds in reverse", Code.BAD_ATTRIBUTE, lambda p: p.op("clamped")["attributes"].update(low="inf", high=0)),
    ("a multiplier of 0", Code.BAD_ATTRIBUTE, lambda p: p.op("residual")["attributes"].update(a_multiplier=0)),
    ("a sum of too large parts", Code.INEXACT_SUM, lambda p: p.op("residual")["attributes"].update(a_multiplier=2**24)),
    ("padding that is no code", Code.WRONG_VALUE_TYPE, lambda p: p.op("sum1")["attributes"].update(pad_value=128)),
]

RAW: list[tuple[str, FileErrorCode, Callable[[bytes], bytes]]] = [
    ("empty", Code.TRUNCATED, lambda _: b""),
    ("a header length past the end", Code.TRUNCATED, lambda d: (len(d)).to_bytes(8, "little") + d[8:]),
    ("a header length past the limit", Code.NOT_SAFETENSORS, lambda d: b"\xff" * 8 + d[8:]),
    ("text", Code.NOT_SAFETENSORS, lambda _: b"this is some text, no network at all"),
    ("a PNG picture", Code.NOT_SAFETENSORS, lambda _: b"\x89PNG\r\n\x1a\n" + bytes(64)),
    ("a header that is no JSON", Code.NOT_SAFETENSORS, lambda _: container(b"{nothing}")),
    ("a header that is no UTF-8", Code.NOT_SAFETENSORS, lambda _: container(b'{"\xff": 1}')),
    ("a header that is a list", Code.NOT_SAFETENSORS, lambda _: container(b"[]")),
    ("a header that starts with a space", Code.NOT_SAFETENSORS, lambda _: container(b" {}")),
    (
        "a header with a key twice",
        Code.NOT_SAFETENSORS,
        lambda _: container(b'{"__metadata__": {}, "__metadata__": {}}'),
    ),
    ("a header with NaN", Code.NOT_SAFETENSORS, lambda _: container(b'{"a": NaN}')),
    ("a header nested without bottom", Code.NOT_SAFETENSORS, lambda _: container(b'{"a": ' + b"[" * 100_000)),
    ("a header of no tensor", Code.NOT_FEATHERBIT, lambda _: container(b"{}")),
    ("a header that is not padded", Code.BAD_TENSOR_LAYOUT, lambda _: b"\2" + bytes(7) + b"{}"),
    ("a byte too many", Code.TRAILING_BYTES, lambda d: d + b"\0"),
    ("a graph that is no JSON", Code.BAD_GRAPH_JSON, lambda _: container(b'{"__metadata__": {"featherbit": "{"}}')),
    (
        "a graph nested without bottom",
        Code.BAD_GRAPH_JSON,
        lambda _: container(b'{"__metadata__": {"featherbit": "' + b"[" * 100_000 + b'"}}'),
    ),
    (
        "a graph with a number of 10,000 digits",
        Code.BAD_GRAPH_JSON,
        lambda _: container(b'{"__metadata__": {"featherbit": "' + b"1" * 10_000 + b'"}}'),
    ),
    ("a misaligned tensor", Code.BAD_TENSOR_LAYOUT, lambda _: container(_misaligned(), bytes(5))),
]


def _misaligned() -> bytes:
    return (
        b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}, "b": {"dtype":"F32","shape":[1],"data_offsets":[1,5]}}'
    )


@pytest.mark.parametrize(("code", "change"), [pytest.param(c, f, id=name) for name, c, f in CHANGES])
def test_a_file_wrong_in_one_way_gets_the_code_of_that_way(
    good: bytes, tmp_path: Path, code: FileErrorCode, change: Change
) -> None:
    parts = Parts.of(good)
    change(parts)
    (tmp_path / "net.fbit").write_bytes(parts.to_bytes())
    assert code_of(tmp_path / "net.fbit") == code


@pytest.mark.parametrize(("code", "change"), [pytest.param(c, f, id=name) for name, c, f in CONV_CHANGES])
def test_a_network_of_convolutions_wrong_in_one_way_gets_the_code_of_that_way(
    tmp_path: Path, code: FileErrorCode, change: Change
) -> None:
    path = tmp_path / "net.fbit"
    save(every_conv_op(), path)
    parts = Parts.of(path.read_bytes())
    path.write_bytes(parts.to_bytes())
    assert load(path) == every_conv_op()
    change(parts)
    path.write_bytes(parts.to_bytes())
    assert code_of(path) == code


@pytest.mark.parametrize(("code", "change"), [pytest.param(c, f, id=name) for name, c, f in RAW])
def test_bytes_that_are_no_container_get_the_code_of_their_fault(
    good: bytes, tmp_path: Path, code: FileErrorCode, change: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "net.fbit").write_bytes(change(good))
    assert code_of(tmp_path / "net.fbit") == code


def test_a_file_taken_apart_and_put_together_again_is_good(good: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.fbit").write_bytes(Parts.of(good).to_bytes())
    assert load(tmp_path / "net.fbit") == every_op()


def test_a_file_truncated_at_any_byte_is_truncated(good: bytes, tmp_path: Path) -> None:
    for length in range(len(good)):
        path = tmp_path / str(length)
        path.write_bytes(good[:length])
        assert code_of(path) == FileErrorCode.TRUNCATED


@pytest.mark.parametrize("key", ["inputs", "attributes"])
def test_a_graph_nested_almost_too_deeply_is_refused_without_a_crash(good: bytes, tmp_path: Path, key: str) -> None:
    parts = Parts.of(good)
    parts.op("x")[key] = "HERE" if key == "inputs" else {"shape": "HERE", "dtype": "uint8"}
    whole = parts.to_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    codes = set()
    for depth in range(sys.getrecursionlimit() - 200, sys.getrecursionlimit() + 2):
        header = whole[8:start].replace(rb"\"HERE\"", b"[" * depth + b"]" * depth)
        path = tmp_path / str(depth)
        path.write_bytes(container(header, whole[start:]))
        codes.add(code_of(path))
    assert codes <= {FileErrorCode.BAD_ATTRIBUTE, FileErrorCode.BAD_NAME, FileErrorCode.BAD_GRAPH_JSON}


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    assert code_of(tmp_path / "net.fbit") == FileErrorCode.NOT_FOUND


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    assert code_of(tmp_path) == FileErrorCode.UNREADABLE


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_pipe_is_unreadable_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert code_of(tmp_path / "pipe") == FileErrorCode.UNREADABLE


def test_a_path_with_a_null_character_is_unreadable(tmp_path: Path) -> None:
    assert code_of(tmp_path / "a\0b") == FileErrorCode.UNREADABLE


def test_every_code_of_a_file_has_a_case() -> None:
    elsewhere = {FileErrorCode.NOT_FOUND, FileErrorCode.UNREADABLE, FileErrorCode.UNWRITABLE}  # above; test_ir_file.py
    assert {code for _, code, _ in (*CHANGES, *CONV_CHANGES, *RAW)} | elsewhere == set(FileErrorCode)
