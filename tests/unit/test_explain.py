"""One row per op: counts that can be checked by hand, the kernel that the plan chose, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from featherbit import ir
from featherbit.bits import pack_sign, pack_weight
from featherbit.errors import KernelError
from featherbit.runtime import LayerRow, _rates, explain
from strategies_ir import every_op, linear

RNG = np.random.default_rng(4)


def conv(source: str, output: str, channels: int, n: int, zero_point: int = 0) -> ir.Conv2d:
    """Return a 3x3 convolution with random signs as weights and padding 1."""
    weight = pack_sign(RNG.choice([-1, 1], size=(n, 9 * channels)))
    sides = (1, 1, 1, 1)
    return ir.Conv2d(
        (source,), output, f"layers.{output}", weight=weight, in_channels=channels, kernel=(3, 3), padding=sides,
        zero_point=zero_point,
    )  # fmt: skip


def affine(source: str, output: str, multiplier: list[float]) -> ir.Affine:
    """Return a scaling that adds 0.25."""
    numbers = np.array(multiplier, dtype=np.float32)
    return ir.Affine((source,), output, multiplier=numbers, addend=np.full_like(numbers, 0.25), fused=False)


def residual(multiplier: list[float]) -> ir.Graph:
    """Return two convolutions with a shortcut around the second, in real values."""
    image = ir.Input((), "x", shape=(3, 6, 5), dtype="uint8")
    slope = np.full(2, 0.25, dtype=np.float32)
    ops: list[ir.Op] = [
        image, ir.ChannelsLast(("x",), "image"), conv("image", "sum1", 3, 2, zero_point=128),
        affine("sum1", "real1", multiplier), ir.PackSign(("real1",), "bits"), conv("bits", "sum2", 2, 2),
        affine("sum2", "real2", multiplier), ir.AddReal(("real2", "real1"), "added"),
        ir.PRelu(("added",), "active", slope=slope), ir.Clamp(("active",), "bounded", low=-1.0, high=1.0),
    ]  # fmt: skip
    return ir.Graph(tuple(ops), "bounded")


@pytest.fixture(autouse=True)
def rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose kernels by rates that do not depend on the machine."""
    monkeypatch.setattr(_rates, "measured_rates", lambda isa: _rates.Rates(bits=5.0, bytes=1.0))


def test_a_linear_layer_is_explained_in_full() -> None:
    rows = explain(every_op(), "scalar")
    assert replace(rows[2], reason="") == LayerRow(
        layer="layers.1",
        op="Linear",
        formats="u8 x u1 -> int32",
        shape=(66,),
        operations=70 * 66,
        weight_bytes=66 * 2 * 8,
        float_bytes=4 * 70 * 66,
        kernel="gemm_u8u1 [scalar]",
    )
    assert rows[3].kernel == "with layers.1"
    assert rows[3].storage == "bits"
    assert (rows[4].kernel, rows[4].reason) == ("gemm_u1u1 [scalar]", "signs by signs")
    assert rows[0].layer == "flat"  # no path: the value's name
    assert (rows[0].operations, rows[0].weight_bytes, rows[0].kernel) == (0, 0, "")


def test_a_convolution_counts_every_tap_of_every_pixel() -> None:
    rows = {row.layer: row for row in explain(residual([0.5, 0.75]), "scalar")}
    assert rows["layers.sum1"].operations == 6 * 5 * 2 * 27
    assert rows["layers.sum1"].float_bytes == 4 * 2 * 27
    assert rows["layers.sum1"].weight_bytes == 2 * 8
    assert (rows["layers.sum1"].formats, rows["layers.sum2"].formats) == ("u8 x u1 -> int32", "sign x u1 -> int32")
    assert rows["layers.sum1"].shape == (6, 5, 2)
    assert "bit-planes : bytes" in rows["layers.sum1"].reason
    assert {rows["layers.sum1"].kernel, rows["layers.sum2"].kernel} <= {"conv_u1 [scalar]", "conv_u8 [scalar]"}
    assert rows["image"].kernel == "rearrange [scalar]"
    assert rows["real1"].float_bytes == 4 * 4 * 2
    assert rows["real2"].kernel == "with layers.sum2"


@pytest.mark.parametrize(
    ("multiplier", "why"),
    [
        ([0.5, 0.75], "a scale per channel"),
        ([0.75, 0.75], "the scale 0.75 is no power of two"),
        ([0.5, 0.5], "the addend is real"),
    ],
)
def test_a_float_branch_says_why_it_is_float(multiplier: list[float], why: str) -> None:
    rows = {row.layer: row.reason for row in explain(residual(multiplier), "scalar")}
    assert rows["real1"] == rows["real2"] == f"float32: {why}"
    assert rows["added"] == f"float32: real2: {why}"
    assert rows["active"] == "float32: the slope is real"
    assert rows["bounded"] == "float32: bounds real values"
    assert rows["bits"] == ""


def test_the_reason_that_packing_found_is_shown() -> None:
    *ops, prelu, clamp = residual([0.5, 0.75]).ops
    added = replace(ops.pop(), reason="the model divides by 3")
    rows = {row.layer: row.reason for row in explain(ir.Graph((*ops, added, prelu, clamp), "bounded"), "scalar")}
    assert rows["added"] == "float32: the model divides by 3"


def test_scores_are_float_because_they_are_the_scores() -> None:
    x = ir.Input((), "x", shape=(9,), dtype="uint8")
    rows = explain(ir.Graph((x, linear("x", "sum", 9, 2, RNG), affine("sum", "y", [1.0, 2.0])), "y"))
    assert rows[-1].reason == "float32: the scores"


def test_wide_weights_show_their_bits() -> None:
    weight = np.arange(-4, 4, dtype=np.int64).reshape(1, 8)
    product = ir.Linear(
        ("x",), "sum", weight=pack_weight(weight, 3, "twos_complement"), in_features=8, weight_bits=3,
        weight_encoding="twos_complement",
    )  # fmt: skip
    x = ir.Input((), "x", shape=(8,), dtype="uint8")
    (row,) = explain(ir.Graph((x, product), "sum"), "scalar")
    assert row.formats == "u8 x s3 -> int32"
    assert (row.operations, row.storage) == (8, "lanes")


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(KernelError):
        explain(every_op(), "sse9")
