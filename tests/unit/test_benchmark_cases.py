"""Benchmark cases at small sizes: every contestant computes the same, and a missing peer says why."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from featherbit import benchmarks, ir
from featherbit.benchmarks import _gemm, _mlp, _network, _onnx
from featherbit.errors import FeatherbitError, InputError
from featherbit.models import Mlp

NETWORK = _network.random_network(20, 96, 3, 10, seed=1)
PIXELS = np.random.default_rng(2).integers(0, 256, (33, 20), dtype=np.uint8)
CENTERED = torch.from_numpy(PIXELS.astype(np.float32) - 128)
TINY = benchmarks.Budget(seconds=0.0, block_ms=0.0, least_rounds=2, most_rounds=2, pause_ms=0.0)


def test_the_graph_and_both_torch_networks_compute_the_same() -> None:
    graph = _network.to_graph(NETWORK)
    expected = ir.reference.run(graph, PIXELS)[graph.output]
    assert np.array_equal(_network.torch_float32(NETWORK)(CENTERED).numpy(), expected)
    for by_column in (True, False):
        int8 = _network.torch_int8(NETWORK, by_column=by_column)
        assert np.array_equal(int8(CENTERED.to(torch.int8)).numpy(), expected)
    assert 0.2 < (expected > 0).mean() < 0.8


def test_the_onnx_float32_network_computes_the_same() -> None:
    pytest.importorskip("onnxruntime")
    (call,) = _mlp._onnx_float32(NETWORK, CENTERED.numpy(), threads=1).values()
    assert np.array_equal(np.asarray(call()), _network.torch_float32(NETWORK)(CENTERED).numpy())


def test_the_onnx_int8_networks_run() -> None:
    pytest.importorskip("onnxruntime")
    for call in _mlp._onnx_int8(NETWORK, PIXELS, threads=1).values():
        assert np.asarray(call()).shape == (33, 10)


def test_every_peer_of_the_product_computes_the_same() -> None:
    contest = _gemm.contest(_gemm.random_problem(40, 50, 130, seed=3), benchmarks.Setting(), prepacked=False)
    expected = np.asarray(contest.ours())
    assert [peer.name for peer in contest.peers] == [
        "torch float32",
        "torch int8",
        "onnxruntime float32",
        "onnxruntime int8",
    ]
    for peer in contest.peers:
        if peer.call is not None:
            assert np.array_equal(np.asarray(peer.call()), expected), peer.name


def test_a_network_that_differs_from_torch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = _network.random_network(20, 96, 3, 10, seed=5)
    monkeypatch.setattr(_mlp, "torch_float32", lambda network: _network.torch_float32(other))
    with pytest.raises(FeatherbitError, match="differs from torch float32"):
        _mlp.contest(NETWORK, 8, benchmarks.Setting())


def test_a_peer_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> ModuleType:
        raise ImportError(f"no module named {name}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    peer = _onnx.peer("onnxruntime int8", dict)
    assert peer.call is None
    assert "pip install featherbit[bench]" in peer.note


def test_an_unknown_case_is_refused_with_a_near_one() -> None:
    with pytest.raises(InputError, match=r"did you mean 'gemm-4096'"):
        benchmarks.find("gem-4096")


def test_the_cases_of_the_issue_are_there() -> None:
    assert {"gemm-4096", "mnist-mlp-4096-batch1", "mnist-mlp-4096-testset"} <= set(benchmarks.cases())


def test_a_name_is_registered_once() -> None:
    with pytest.raises(InputError, match="registered twice"):
        benchmarks.case("gemm-4096", "again")(lambda setting: benchmarks.Contest(lambda: None, ()))


def test_rows_and_json_say_what_was_measured(tmp_path: Path) -> None:
    threads = torch.get_num_threads()

    def build(setting: benchmarks.Setting) -> benchmarks.Contest:
        assert torch.get_num_threads() == setting.threads
        peers = (benchmarks.Peer("torch float32", lambda: sum(range(1000))), benchmarks.Peer("gone", None, "why"))
        return benchmarks.Contest(lambda: sum(range(100)), peers)

    rows = benchmarks.run_case(benchmarks.Case("tiny", "", build), benchmarks.Setting(threads=1), TINY)
    assert [(row.peer, row.ratio is None, row.note) for row in rows] == [
        ("torch float32", False, ""),
        ("gone", True, "why"),
    ]
    assert torch.get_num_threads() == threads
    benchmarks.write_json(rows, tmp_path / "out.json")
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert {
        "case",
        "threads",
        "peer",
        "ratio",
        "ratio_low",
        "ratio_high",
        "ours_ms",
        "peer_ms",
        "machine",
        "commit",
    } <= set(row)
    assert (row["case"], row["threads"], row["peer"]) == ("tiny", 1, "torch float32")
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]


def small_mlp() -> Mlp:
    """Return a network in eval mode whose batch norm has seen data."""
    torch.manual_seed(0)
    model = Mlp(20, 96, 2, 10, input_dropout=0.1, hidden_dropout=0.1)
    model(torch.from_numpy(PIXELS))
    for layer in model.eval():
        if isinstance(layer, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(layer.bias, 0.01, 0.02)  # no sum ties, for torch.sign(0) is 0
    return model


def test_the_plain_float32_network_computes_what_the_trained_one_does() -> None:
    model = small_mlp()
    plain = benchmarks.plain_float32(model)
    assert {type(layer) for layer in plain} <= {torch.nn.Linear, torch.nn.Flatten, type(plain[2])}
    with torch.inference_mode():
        scores = plain(CENTERED / 128)
        expected = model(torch.from_numpy(PIXELS))
    # Folding batch norm rounds the weights anew; no sign is so near to zero here that it flips.
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_a_layer_without_a_plain_form_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="1: Softmax has no plain float32 form"):
        benchmarks.plain_float32(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Softmax(dim=1)))


def test_batch_norm_that_follows_no_linear_layer_is_refused() -> None:
    with pytest.raises(InputError, match="0: batch norm must follow a linear layer"):
        benchmarks.plain_float32(torch.nn.Sequential(torch.nn.BatchNorm1d(3)))
