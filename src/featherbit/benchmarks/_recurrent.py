"""The paper's word model: an LSTM of 300 units over a vocabulary of 10,000, 4-bit weights and activations.

One sequence, its state handed on from call to call. `generate` is a token a call, so every call reads all weights, and
what it costs is memory and overhead; `score` is 35 tokens in one call, the length that training unrolls, where the
output layer sees 35 tokens at once. Scores of every token are computed and returned by everybody.

Weights are random, normal as trained ones nearly are: uniform ones would not fill the outer codes of a learned step.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import ir
from ..errors import FeatherbitError
from ..layers import QuantLinear
from ..models import LanguageModel
from ..pack import pack
from ..quantizers import LinearQuant, Lsq
from ..runtime import Session
from . import _onnx, _recurrent_onnx, _recurrent_torch
from ._case import Call, Contest, Peer, Setting, case
from ._variants import fastest

_TOKENS = 350  # different ones, again and again: no table's row stays in the first cache
_WARM_UP = 5  # calls; torch compiles a frozen network in its second


@case("ptb-lstm-w4a4-generate", "LSTM of 300, vocabulary 10,000, 4-bit weights, 4-bit activations, one token a call")
def ptb_lstm_w4a4_generate(setting: Setting) -> Contest:
    """Build the paper's network for one token after the other."""
    return contest(random_model(10_000, 300, setting.seed), 1, setting)


@case("ptb-lstm-w4a4-score", "LSTM of 300, vocabulary 10,000, 4-bit weights, 4-bit activations, 35 tokens in one call")
def ptb_lstm_w4a4_score(setting: Setting) -> Contest:
    """Build the paper's network for a stretch of text."""
    return contest(random_model(10_000, 300, setting.seed), 35, setting)


def random_model(tokens: int, features: int, seed: int, bits: int = 4) -> LanguageModel:
    """Return a language model of one LSTM layer in eval mode, its weights random.

    Args:
        tokens: size of the vocabulary.
        features: of the embedding and of the hidden state.
        seed: of everything drawn.
        bits: of weights and activations.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LanguageModel(
            tokens, features, features, activation_quantizer=LinearQuant(bits), weight_quantizer=Lsq(bits)
        )
        nn.init.uniform_(model.embedding.weight, -1.0, 1.0)
        for layer in model.modules():
            if isinstance(layer, QuantLinear):
                _draw_normal(layer)
    return model.eval()


def _draw_normal(layer: QuantLinear) -> None:
    """Draw weights as far spread as torch's own first ones, and fit the step as `Lsq` does."""
    nn.init.normal_(layer.weight, std=(3 * layer.in_features) ** -0.5)
    quantizer = layer.weight_quantizer
    assert isinstance(quantizer, Lsq)
    with torch.no_grad():
        quantizer.step.copy_(2.0 * layer.weight.abs().mean() / quantizer.high**0.5)


def contest(model: LanguageModel, steps: int, setting: Setting) -> Contest:
    """Build the contest on random tokens; check that ours equals torch float32.

    Args:
        model: with a `QuantLSTM` of one layer, in eval mode.
        steps: tokens of a call.
        setting: threads, instruction set, seed of the tokens.

    Raises:
        FeatherbitError: they differ.
    """
    rng = np.random.default_rng(setting.seed)
    calls = max(1, _TOKENS // steps)
    tokens = rng.integers(0, model.embedding.num_embeddings, (calls, steps, 1))  # [calls, T, B]
    graph = pack(model, torch.from_numpy(tokens[0]), verify=False)
    session = Session(graph, isa=setting.isa, threads=setting.threads)
    check_equal(session, model, tokens[:2].reshape(-1))
    texts = list(tokens.astype(np.int32)[..., None])  # each [T, B, 1]
    ours = carried(session.step, [text[0] for text in texts]) if steps == 1 else carried(session.run_sequence, texts)
    sizes = f"{_file_bytes(graph) / 1e6:.1f} MB packed, {_float_bytes(model) / 1e6:.1f} MB in float32"
    note = f"{steps} token{'s' if steps > 1 else ''} a call; {sizes}"
    return Contest(ours, tuple(_noted(peer, note) for peer in peers(model, tokens, setting.threads)))


def peers(model: LanguageModel, tokens: NDArray[np.int64], threads: int) -> tuple[Peer, ...]:
    """Return the peers of a language model, ready to be called.

    Args:
        model: with a `QuantLSTM` of one layer, in eval mode.
        tokens: `[calls, T, B]`, taken in turn.
        threads: of each.
    """
    plain = _recurrent_torch.plain_float32(model)
    return (
        _torch_peer("torch float32", plain, tokens),
        _torch_peer("torch int8", _recurrent_torch.quantized(plain), tokens),
        _onnx.peer("onnxruntime float32", lambda: _onnx_float32(plain, tokens[0], threads)),
        _onnx.peer("onnxruntime int8", lambda: _onnx_int8(plain, tokens[0], threads)),
    )


def _torch_peer(name: str, net: nn.Module, tokens: NDArray[np.int64]) -> Peer:
    texts = list(torch.from_numpy(tokens))
    state = _recurrent_torch.zero_state(net, tokens.shape[2])
    calls = {label: carried(run, texts, state) for label, run in _recurrent_torch.variants(net, texts[0]).items()}
    for call in calls.values():
        for _ in range(_WARM_UP):
            call()
    return fastest(name, calls)


def _onnx_float32(plain: _recurrent_torch.PlainLstm, x: NDArray[np.int64], threads: int) -> dict[str, Call]:
    return {"LSTM": _onnx.run_model(_recurrent_onnx.model(plain, x), x, threads)}


def _onnx_int8(plain: _recurrent_torch.PlainLstm, x: NDArray[np.int64], threads: int) -> dict[str, Call]:
    float_model = _recurrent_onnx.model(plain, x)
    calls: dict[str, Call] = {}
    for kind in ("tensor", "channel"):
        int8 = _recurrent_onnx.quantized(float_model, per_channel=kind == "channel")
        calls[f"dynamic, per {kind}"] = _onnx.run_model(int8, x, threads)
    return calls


def _noted(peer: Peer, note: str) -> Peer:
    return peer if peer.call is None else replace(peer, note=f"{peer.note}; {note}")


def carried(run: Callable[[Any, Any], tuple[object, Any]], inputs: Sequence[object], state: Any = None) -> Call:
    """Return a call that hands its state to the next, which takes the next input.

    Args:
        run: from an input and a state to scores and the next state.
        inputs: taken in turn, for ever.
        state: of the first call.
    """
    feed = itertools.cycle(inputs)

    def call() -> object:
        nonlocal state
        scores, state = run(next(feed), state)
        return scores

    return call


@torch.inference_mode()
def check_equal(session: Session, model: LanguageModel, tokens: NDArray[np.int64]) -> None:
    """Check that ours gives the scores and the state of torch's steps, to the bit.

    Args:
        session: the packed model.
        model: in eval mode.
        tokens: `[T]`, of one sequence.

    Raises:
        FeatherbitError: they differ.
    """
    scores, last = session.run_sequence(tokens.reshape(-1, 1, 1))
    state = tuple(torch.zeros(1, size) for size in model.state_sizes)
    for index, token in enumerate(torch.from_numpy(tokens)):
        expected, state = model.step(token.reshape(1), state)
        if not np.array_equal(scores[index], expected.numpy()):
            raise FeatherbitError(f"the packed network differs from torch float32 at token {index}")
    if not all(np.array_equal(ours, theirs.numpy()) for ours, theirs in zip(last.values(), state, strict=True)):
        raise FeatherbitError(f"the packed network's state differs from torch float32 after {len(tokens)} tokens")


def _file_bytes(graph: ir.Graph) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.fbit")
        ir.save(graph, path)
        return path.stat().st_size


def _float_bytes(model: LanguageModel) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())
