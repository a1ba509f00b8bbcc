"""`Session(kernels=...)`: what cannot be asked for is refused with the layer and the reason."""

from __future__ import annotations

import numpy as np
import pytest

from featherbit.bits import pack_sign
from featherbit.errors import GraphError
from featherbit.ir import ChannelsLast, Conv2d, Graph, Input, Linear, Op, Threshold, reference
from featherbit.runtime import Session
from strategies_conv import random_weight
from strategies_ir import batch_for

RNG = np.random.default_rng(6)


def network(groups: int = 1, weight_bits: int = 1, channels: int = 6) -> Graph:
    """Return a convolution of pixels, signs, and a convolution of those."""
    image: list[Op] = [Input((), "x", shape=(3, 4, 4), dtype="uint8"), ChannelsLast(("x",), "image")]
    first = Conv2d(
        ("image",), "sum1", "layers.0", weight=random_weight(channels, 12, 1, "sign", RNG), in_channels=3, kernel=(2, 2)
    )  # fmt: skip
    bits = Threshold(
        ("sum1",), "bits", thresholds=np.zeros(channels, np.int32), flips=pack_sign(np.full(channels, -1))
    )  # fmt: skip
    weight = random_weight(channels, 4 * channels // groups, weight_bits, "sign", RNG)
    second = Conv2d(
        ("bits",), "sum2", "layers.1", weight=weight, in_channels=channels, kernel=(2, 2), groups=groups,
        weight_bits=weight_bits,
    )  # fmt: skip
    return Graph((*image, first, bits, second), "sum2")


@pytest.mark.parametrize(
    "kernels", [{"layers.0": "planes"}, {"sum1": "bytes", "layers.1": "planes"}, {"sum2": "bytes"}]
)
def test_a_kernel_is_asked_for_by_layer_or_by_value(kernels: dict[str, str]) -> None:
    graph = network()
    session = Session(graph, isa="scalar", kernels=kernels)
    x = batch_for(graph, 3, 1)
    assert np.array_equal(session.run(x), reference.run(graph, x)["sum2"])
    rows = {row.layer: row for row in session.explain()}
    for name, wish in kernels.items():
        row = rows[name.replace("sum1", "layers.0").replace("sum2", "layers.1")]
        assert row.kernel == {"planes": "conv_u1 [scalar]", "bytes": "conv_u8 [scalar]"}[wish]
        assert row.reason == "as asked for"


def test_what_is_no_product_is_refused_with_those_there_are() -> None:
    for name in ("layers.7", "bits", ""):
        with pytest.raises(GraphError, match=r"no product of this network; there are: layers\.0, layers\.1"):
            Session(network(), kernels={name: "planes"})


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(GraphError, match=r"layers\.1.*a kernel is one of planes, bytes, got 'int8'"):
        Session(network(), kernels={"layers.1": "int8"})


@pytest.mark.parametrize(
    ("graph", "wish", "reason"),
    [
        (network(groups=6), "bytes", "cannot be chosen"),  # depthwise
        (network(groups=2), "planes", "cannot be chosen"),  # 3 channels fill neither words nor quads
        (network(weight_bits=8), "bytes", "sums of 8 signs do not fit int8; use planes"),
    ],
)
def test_a_kernel_that_a_product_cannot_have_is_refused(graph: Graph, wish: str, reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        Session(graph, kernels={"layers.1": wish})


def test_signs_by_signs_have_one_kernel() -> None:
    flat = Graph(
        (
            Input((), "x", shape=(9,), dtype="uint8"),
            Linear(("x",), "sum1", "layers.0", weight=random_weight(5, 9, 1, "sign", RNG), in_features=9),
            Threshold(("sum1",), "bits", thresholds=np.zeros(5, np.int32), flips=pack_sign(np.full(5, -1))),
            Linear(("bits",), "sum2", "layers.1", weight=random_weight(5, 5, 1, "sign", RNG), in_features=5),
        ),
        "sum2",
    )
    with pytest.raises(GraphError, match=r"layers\.1.*cannot be chosen \(signs by signs\)"):
        Session(flat, kernels={"layers.1": "planes"})
    x = batch_for(flat, 4, 2)
    for wish in ("planes", "bytes"):
        assert np.array_equal(Session(flat, kernels={"layers.0": wish}).run(x), reference.run(flat, x)["sum2"])
