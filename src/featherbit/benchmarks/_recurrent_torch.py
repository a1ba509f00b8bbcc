"""Torch as a peer of the packed LSTM: its own layers in float32, and quantized to int8 by its own tool.

They get the quantized weights, so that all peers compute one network, but no quantizer of activations and no tables:
a user of torch would not pay for either. int8 is dynamic, as torch offers it for an LSTM: weights s8, activations
quantized in each product.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from ..layers import QuantLSTMCell
from ..models import LanguageModel

State = tuple[Tensor, Tensor]
Run = Callable[[Tensor, State], tuple[Tensor, State]]


class PlainLstm(nn.Module):
    """Embedding, LSTM and a linear layer, all torch's own.

    Args:
        tokens: size of the vocabulary.
        embedding_features: length of a token's vector.
        hidden_features: width of the LSTM.
    """

    def __init__(self, tokens: int, embedding_features: int, hidden_features: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, embedding_features)
        self.recurrent = nn.LSTM(embedding_features, hidden_features)
        self.scores = nn.Linear(hidden_features, tokens)

    def forward(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Return scores `[T, B, tokens]` of tokens `[T, B]`, and the state after the last."""
        hidden, state = self.recurrent(self.embedding(tokens), state)
        return self.scores(hidden), state


@torch.no_grad()
def plain_float32(model: LanguageModel) -> PlainLstm:
    """Return a language model as torch's own layers, with the quantized weights.

    Args:
        model: of one LSTM layer, in eval mode.
    """
    cell = cast(QuantLSTMCell, model.recurrent.cells[0])
    given, hidden = cell.input_product, cell.hidden_product
    plain = PlainLstm(model.embedding.num_embeddings, given.in_features, cell.hidden_size)
    assert given.input_quantizer is not None
    parameters = {
        "embedding.weight": given.input_quantizer(model.embedding.weight),
        "recurrent.weight_ih_l0": given.quantized_weight,
        "recurrent.weight_hh_l0": hidden.quantized_weight,
        "recurrent.bias_ih_l0": given.bias,
        "recurrent.bias_hh_l0": torch.zeros_like(given.bias),
        "scores.weight": model.scores.quantized_weight,
        "scores.bias": model.scores.bias,
    }
    plain.load_state_dict(parameters)
    return plain.eval()


def quantized(plain: PlainLstm) -> nn.Module:
    """Return the network in dynamic int8, all but its embedding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all of torch.ao.quantization is deprecated, with no other int8 LSTM in sight
        quantize: Callable[..., nn.Module] = torch.ao.quantization.quantize_dynamic
        return quantize(plain, {nn.LSTM, nn.Linear}, dtype=torch.qint8)


def variants(net: nn.Module, tokens: Tensor) -> dict[str, Run]:
    """Return the ways to run a network: as it is, frozen, and optimized for inference.

    Args:
        net: a `PlainLstm`, or one quantized.
        tokens: int64 `[T, B]`, of the form that it is frozen for.
    """
    example = (tokens, zero_state(net, tokens.shape[1]))
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # so is all of torch.jit, its successors compile, which needs a compiler at hand
        trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
        frozen = torch.jit.freeze(trace(net, example))
        optimized = torch.jit.optimize_for_inference(torch.jit.freeze(trace(net, example)))
    runs: dict[str, Run] = {"eager": net, "frozen": frozen, "optimized": optimized}
    runs = {label: torch.inference_mode()(run) for label, run in runs.items()}
    return runs | {f"{label}, LSTM without oneDNN": _without_onednn(run) for label, run in runs.items()}


def _without_onednn(run: Run) -> Run:
    """Run torch's own LSTM: that of oneDNN lays its weights out anew in every call, which one token does not repay."""

    def call(tokens: Tensor, state: State) -> tuple[Tensor, State]:
        # `torch.backends.mkldnn.flags` sets what belongs to GPUs too, and warns where there is none.
        before = torch._C._get_mkldnn_enabled()
        torch._C._set_mkldnn_enabled(False)
        try:
            return run(tokens, state)
        finally:
            torch._C._set_mkldnn_enabled(before)

    return call


def zero_state(net: nn.Module, batch: int) -> State:
    """Return the state before the first step."""
    features: int = net.recurrent.hidden_size  # type: ignore[union-attr, assignment]
    return torch.zeros(1, batch, features), torch.zeros(1, batch, features)
