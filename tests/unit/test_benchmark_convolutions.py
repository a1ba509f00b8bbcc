"""Convolutional benchmarks at small sizes: ours equals torch float32 and what packing gives; the peers agree."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from featherbit import benchmarks, ir, pack
from featherbit.benchmarks import _conv_cases, _conv_onnx, _conv_torch, _onnx
from featherbit.benchmarks._blueprint import Blueprint, Dense, Mean, convnet, resnet18, single_layer, vgg_small
from featherbit.benchmarks._float_net import float_nodes
from featherbit.benchmarks._packed_net import Widths, to_graph
from featherbit.benchmarks._torch_check import check_equal, torch_float32
from featherbit.errors import FeatherbitError, InputError
from featherbit.models import ConvNet, ResNet, VggSmall
from featherbit.quantizers import LinearQuant
from featherbit.runtime import Session

BLUEPRINTS = {
    "convnet": convnet(8, 16),
    "vgg_small": vgg_small(8, 16),
    "resnet18": resnet18(8, 64, 10),
    "conv3": single_layer(3, 6, 16, 2),
    "conv1": single_layer(1, 6, 16, 2),
}
SIZES = [(1, 1), (1, 2), (2, 2), (4, 4), (8, 8)]


@pytest.mark.parametrize("name", BLUEPRINTS)
@pytest.mark.parametrize("sizes", SIZES)
def test_each_graph_computes_the_same_in_numpy_torch_and_natively(name: str, sizes: tuple[int, int]) -> None:
    graph = to_graph(BLUEPRINTS[name], Widths(*sizes), seed=1)
    x = _conv_cases.random_input(graph, 3, seed=2)
    expected = ir.reference.run(graph, x)[graph.output]
    assert np.array_equal(torch_float32(graph, x), expected)
    assert np.array_equal(Session(graph).run(x), expected)
    assert len(np.unique(expected)) > 10


def test_another_result_than_torch_is_refused() -> None:
    graph = to_graph(BLUEPRINTS["convnet"], Widths(), seed=1)
    x = _conv_cases.random_input(graph, 2, seed=2)
    with pytest.raises(FeatherbitError, match="differs from torch float32 on 2 images"):
        check_equal(lambda batch: Session(graph).run(batch) + 2.0**-10, graph, x)


def test_codes_are_spread_and_no_threshold_is_useless() -> None:
    graph = to_graph(BLUEPRINTS["convnet"], Widths(2, 2), seed=1)
    values = ir.reference.run(graph, _conv_cases.random_input(graph, 3, seed=2))
    for op in graph.ops:
        if isinstance(op, ir.MultiThreshold):
            shares = np.bincount(values[op.output].ravel(), minlength=4) / values[op.output].size
            assert shares.min() > 0.02, op.output


def ready(model: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return a model in eval mode whose batch norms and shifts are as after some training."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and not name.endswith(("weight", "slope")):
            nn.init.normal_(parameter, 0.1, 0.3)
    with torch.no_grad():
        model.train()(x)
        return model.eval()


def two_bits() -> ConvNet:
    """Return a small ConvNet with 2-bit weights and activations."""
    quantizers = {"weight_quantizer": LinearQuant(2), "activation": LinearQuant(2)}
    return ConvNet((3, 16, 16), 10, channels=(8, 16, 32), dense_features=(64, 64), **quantizers)


MODELS: dict[str, tuple[Callable[[], nn.Module], Blueprint, Widths]] = {
    "convnet w1a1": (
        lambda: ConvNet((3, 16, 16), 10, channels=(8, 16, 32), dense_features=(64, 64)), convnet(8, 16), Widths(),
    ),
    "convnet w2a2": (two_bits, convnet(8, 16), Widths(2, 2)),
    "vgg small": (lambda: VggSmall((3, 16, 16), 10, channels=(8, 16, 32)), vgg_small(8, 16), Widths()),
    "resnet18": (lambda: ResNet(10, (8, 16, 32, 64), (2, 2, 2, 2), "imagenet"), resnet18(8, 64, 10), Widths()),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_network_that_is_measured_is_the_one_that_packing_gives(name: str) -> None:
    make, blueprint, widths = MODELS[name]
    torch.manual_seed(0)
    side = blueprint.image[0]
    x = torch.randint(0, 256, (3, 3, side, side), dtype=torch.uint8)

    def skeleton(graph: ir.Graph) -> list[tuple[str, str, dict[str, object]]]:
        parts = []
        for op in graph.ops:
            attributes = {key: value for key, value in op.attributes().items() if key != "reason"}
            parts.append((type(op).__name__, str(graph.types[op.output]), attributes))
        return parts

    packed = pack.pack(ready(make(), x), x, verify=False)
    assert skeleton(to_graph(blueprint, widths, seed=0)) == skeleton(packed)


@pytest.mark.parametrize("name", ["convnet", "resnet18", "conv3"])
def test_the_float_peers_compute_one_network(name: str) -> None:
    pytest.importorskip("onnxruntime")
    blueprint = BLUEPRINTS[name]
    height, width, channels = blueprint.image
    x = np.random.default_rng(4).standard_normal((2, channels, height, width), dtype=np.float32)
    nodes = float_nodes(blueprint, seed=1)
    calls = _conv_torch.variants(nodes, torch.from_numpy(x))
    first, *others = (np.asarray(call()) for call in calls.values())
    others.append(np.asarray(_onnx.run_model(_conv_onnx.model(nodes, x), x, threads=1)()))
    for other in others:
        # Each adds in an order of its own: float32 rounds at 1e-7, and sums here have up to 512 terms.
        np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-4 * np.abs(first).max())
    assert 0.1 < first.std() < 100


@pytest.mark.parametrize("form", ["QOperator", "QDQ"])
@pytest.mark.parametrize("name", ["convnet", "resnet18"])
def test_the_int8_peer_follows_the_float_one(name: str, form: str) -> None:
    pytest.importorskip("onnxruntime")
    blueprint = BLUEPRINTS[name]
    height, width, channels = blueprint.image
    x = np.random.default_rng(4).standard_normal((2, channels, height, width), dtype=np.float32)
    model = _conv_onnx.model(float_nodes(blueprint, seed=1), x)
    plain = np.asarray(_onnx.run_model(model, x, threads=1)())
    int8 = np.asarray(_onnx.run_model(_conv_onnx.quantized(model, x, form), x, threads=1)())
    # Eight bits a layer, calibrated on the very batch: 1 % of error a layer is more than they make.
    assert np.corrcoef(plain.ravel(), int8.ravel())[0, 1] > 0.99
    assert not np.array_equal(plain, int8)


def test_a_contest_has_every_peer_and_says_why_one_is_missing() -> None:
    pytest.importorskip("onnxruntime")
    contest = _conv_cases.contest(BLUEPRINTS["convnet"], Widths(1, 2), 2, benchmarks.Setting())
    assert np.asarray(contest.ours()).shape == (2, 10)
    notes = {peer.name: peer.note for peer in contest.peers}
    assert list(notes) == [
        "torch float32",
        "onnxruntime float32",
        "onnxruntime int8",
        "larq-compute-engine",
    ]
    assert notes["larq-compute-engine"] == "it has weights and activations of 1 bit alone"
    assert "per channel" in notes["onnxruntime int8"]
    for peer in contest.peers[:3]:
        assert peer.call is not None
        assert np.asarray(peer.call()).shape == (2, 10)


def test_the_cases_of_the_issue_are_there_and_sweeps_run_only_when_named() -> None:
    cases = benchmarks.cases()
    asked = {f"convnet-cifar10-w{w}a{a}-batch1" for w, a in SIZES}
    asked |= {"convnet-cifar10-w1a1-batch32", "vgg-small-w1a1-batch1", "resnet18-w1a1-batch1"}
    asked |= {f"conv-{k}x{k}-{size}-w1a1" for k in (1, 3) for size in ("56x64", "28x128", "14x256", "7x512")}
    assert asked <= {case.name for case in benchmarks.select([])}
    assert cases["convnet-cifar10-w4a1-batch1"].extra
    assert "convnet-cifar10-w4a1-batch1" not in {case.name for case in benchmarks.select([])}


def test_cases_are_selected_by_pattern() -> None:
    names = [case.name for case in benchmarks.select(["conv-1x1-*-w1a1", "gemm-256", "conv-1x1-7x512-w1a1"])]
    assert len(names) == 5
    assert names[-1] == "gemm-256"
    with pytest.raises(InputError, match="no benchmark case fits 'conv-9"):
        benchmarks.select(["conv-9*"])


def test_a_case_gives_its_graph_at_full_size() -> None:
    make = benchmarks.find("conv-1x1-7x512-w2a2").graph
    assert make is not None
    assert make().types[make().output].shape == (512,)
    assert benchmarks.find("gemm-256").graph is None


def test_a_blueprint_goes_to_the_worker_as_plain_data() -> None:
    plain = single_layer(1, 7, 16, 1).as_json()
    assert plain == {
        "image": [7, 7, 16],
        "raw": False,
        "layers": [
            {"kind": "Conv", "channels": 16, "kernel": 1, "padding": 0, "pool": 1, "weight_bits": 0},
            {"kind": "Mean"},
        ],
    }


def test_names_say_what_is_measured() -> None:
    name = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
    assert all(name.fullmatch(case) for case in benchmarks.cases())
    assert Blueprint((4, 4, 3), (Mean(), Dense(2))).raw
