"""The recurrent benchmark at a small size: ours equals torch's steps, the peers agree, the state is handed on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from featherbit import benchmarks, ir, pack
from featherbit.benchmarks import _onnx, _recurrent, _recurrent_torch
from featherbit.errors import FeatherbitError
from featherbit.runtime import Session

MODEL = _recurrent.random_model(90, 24, seed=1)
PLAIN = _recurrent_torch.plain_float32(MODEL)
TOKENS = np.random.default_rng(2).integers(0, 90, (4, 3, 1))  # [calls, T, B]


@pytest.fixture(scope="module")
def graph() -> ir.Graph:
    """Return the packed model."""
    return pack.pack(MODEL, torch.from_numpy(TOKENS[0]), verify=False)


def test_every_product_has_weights_and_activations_of_four_bits(graph: ir.Graph) -> None:
    products = [op for op in graph.ops if isinstance(op, ir.Linear)]
    assert len(products) == 9  # two for each of four gates, and the scores
    assert {op.weight_bits for op in products} == {4}
    inputs = [graph.types[name].element for op in products for name in op.inputs]
    assert {str(element) for element in inputs} == {str(inputs[0])}
    assert "4" in str(inputs[0])


def test_drawing_a_model_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second = (_recurrent.random_model(20, 8, seed=3) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.scores.weight, second.scores.weight)


def test_another_model_than_the_packed_one_is_refused(graph: ir.Graph) -> None:
    session, tokens = Session(graph), TOKENS.reshape(-1)
    _recurrent.check_equal(session, MODEL, tokens)
    with pytest.raises(FeatherbitError, match="differs from torch float32 at token 0"):
        _recurrent.check_equal(session, _recurrent.random_model(90, 24, seed=4), tokens)


def test_a_state_that_differs_is_refused(graph: ir.Graph) -> None:
    class Forgetful(Session):
        def run_sequence(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
            scores, state = super().run_sequence(*args, **kwargs)  # type: ignore[arg-type]
            return scores, {name: part * 0 for name, part in state.items()}

    with pytest.raises(FeatherbitError, match="state differs from torch float32 after 12 tokens"):
        _recurrent.check_equal(Forgetful(graph), MODEL, TOKENS.reshape(-1))


def test_each_call_takes_the_next_input_and_the_state_of_the_last() -> None:
    call = _recurrent.carried(lambda x, state: ((x, state), f"after {x}"), ["a", "b"], "first")
    assert [call() for _ in range(3)] == [("a", "first"), ("b", "after a"), ("a", "after b")]


def test_the_float_network_is_the_trained_one_without_quantizers_of_activations() -> None:
    exact = _recurrent.random_model(90, 24, seed=1, bits=8)
    plain = _recurrent_torch.plain_float32(exact)
    tokens = torch.from_numpy(TOKENS.reshape(-1, 1))
    with torch.inference_mode():
        expected, _ = exact(tokens)
        scores, _ = plain(tokens, _recurrent_torch.zero_state(plain, 1))
    # Eight bits round states at 2^-8, and scores are sums of 24 of them times weights around 0.1.
    assert (scores - expected).abs().max() < 0.02
    assert expected.std() > 0.05


def test_torch_and_onnx_compute_one_float_network() -> None:
    pytest.importorskip("onnxruntime")
    (onnx_call,) = _recurrent._onnx_float32(PLAIN, TOKENS[0], threads=1).values()
    state = _recurrent_torch.zero_state(PLAIN, 1)
    first = np.asarray(onnx_call())
    assert first.shape == (3, 1, 90)
    for run in _recurrent_torch.variants(PLAIN, torch.from_numpy(TOKENS[0])).values():
        # Each adds in an order of its own, and has its own sigmoid: float32 rounds at 1e-7.
        np.testing.assert_allclose(run(torch.from_numpy(TOKENS[0]), state)[0].numpy(), first, rtol=1e-4, atol=1e-5)


def test_every_int8_network_follows_the_float_one() -> None:
    pytest.importorskip("onnxruntime")
    tokens, state = torch.from_numpy(TOKENS[0]), _recurrent_torch.zero_state(PLAIN, 1)
    with torch.inference_mode():
        expected = PLAIN(tokens, state)[0].numpy()
    runs = _recurrent_torch.variants(_recurrent_torch.quantized(PLAIN), tokens)
    results = [run(tokens, state)[0].numpy() for run in runs.values()]
    results += [np.asarray(call()) for call in _recurrent._onnx_int8(PLAIN, TOKENS[0], threads=1).values()]
    assert len(results) == 6 + 2
    for result in results:
        # Eight bits a product: 1 % of error is more than they make.
        assert np.corrcoef(result.ravel(), expected.ravel())[0, 1] > 0.99
        assert not np.array_equal(result, expected)


def test_every_variant_hands_its_state_on() -> None:
    text = torch.from_numpy(TOKENS.reshape(-1, 1, 1))
    state = _recurrent_torch.zero_state(PLAIN, 1)
    variants = _recurrent_torch.variants(PLAIN, text[0]).values()
    calls = [_recurrent.carried(run, list(text), state) for run in variants]
    outputs = [[call() for call in calls] for _ in range(2 * len(text))]
    for one, *others in outputs:
        for other in others:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # float32 rounds at 1e-7
    assert not torch.equal(outputs[0][0], outputs[len(text)][0])  # the same token, later


@pytest.mark.parametrize(("steps", "said"), [(1, "1 token a call"), (3, "3 tokens a call")])
def test_a_contest_has_every_peer_and_says_tokens_and_sizes(steps: int, said: str) -> None:
    pytest.importorskip("onnxruntime")
    contest = _recurrent.contest(MODEL, steps, benchmarks.Setting())
    assert [peer.name for peer in contest.peers] == [
        "torch float32",
        "torch int8",
        "onnxruntime float32",
        "onnxruntime int8",
    ]
    outputs = [np.asarray(contest.ours()) for _ in range(5)]
    assert outputs[0].size == steps * 90
    assert all(not np.array_equal(one, other) for one, other in pairwise(outputs))
    for peer in contest.peers:
        assert peer.call is not None
        assert np.asarray(peer.call()).size == steps * 90
        assert said in peer.note
        assert "MB packed" in peer.note


def test_ours_is_one_text_however_it_is_cut() -> None:
    def scores(steps: int) -> list[np.ndarray]:
        contest = _recurrent.contest(MODEL, steps, benchmarks.Setting())
        return [np.asarray(contest.ours()).reshape(steps, 90) for _ in range(30 // steps)]

    assert np.array_equal(np.concatenate(scores(1)), np.concatenate(scores(5)))


def test_a_missing_onnxruntime_is_a_missing_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_onnx, "peer", lambda name, build: benchmarks.Peer(name, None, "not installed"))
    peers = _recurrent.peers(MODEL, TOKENS, threads=1)
    assert [peer.call is None for peer in peers] == [False, False, True, True]


def test_the_cases_of_the_issue_are_there() -> None:
    names = {case.name for case in benchmarks.select([])}
    assert {"ptb-lstm-w4a4-generate", "ptb-lstm-w4a4-score"} <= names
