"""A recurrent language model: it gives each token a score for being the next one."""

from __future__ import annotations

import copy
from typing import Any, Literal

from torch import Tensor, nn

from ..layers import QuantLinear, QuantLSTM, QuantRNN
from ..quantizers import Sign
from ._dropped import Dropped

Cell = Literal["lstm", "rnn"]


class LanguageModel(nn.Module):
    """Embedding, recurrent layers and a linear layer, all with quantized products.

    Order: embedding, recurrent layers, linear layer. The inputs of all of them and the hidden states have quantizers of
    their own, so first and last layer are quantized too; dropout stands behind those of the inputs.

    Args:
        tokens: size of the vocabulary.
        embedding_features: length of a token's vector.
        hidden_features: width of each recurrent layer.
        layers: how many of them, >= 1.
        cell: `"lstm"` or `"rnn"`.
        nonlinearity: of an RNN, `"tanh"` or `"relu"`.
        dropout: share of each layer's inputs dropped in training; not of hidden states.
        activation_quantizer: quantizes the inputs of products, copied for each; by default none.
        embedding_quantizer: quantizes the first layer's input instead, which has both signs, as states after a ReLU
            have not.
        weight_quantizer: quantizes their weights, copied for each; by default the sign.
        gradient_quantizer: quantizes the gradients of the products, copied for each; by default none.

    Source: the paper's Penn Treebank networks: an LSTM of 300 units for words, an RNN of 2048 with ReLU for characters.

    >>> import torch
    >>> scores, state = LanguageModel(50, 4, 8)(torch.zeros(6, 2, dtype=torch.int64))
    >>> scores.shape
    torch.Size([6, 2, 50])
    """

    def __init__(
        self,
        tokens: int,
        embedding_features: int,
        hidden_features: int,
        layers: int = 1,
        *,
        cell: Cell = "lstm",
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        dropout: float = 0.0,
        activation_quantizer: nn.Module | None = None,
        embedding_quantizer: nn.Module | None = None,
        weight_quantizer: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
    ) -> None:
        super().__init__()
        weights = Sign(window=None) if weight_quantizer is None else weight_quantizer
        quantizers: dict[str, Any] = {"weight_quantizer": weights, "gradient_quantizer": gradient_quantizer}
        active = nn.Identity() if activation_quantizer is None else activation_quantizer
        first = active if embedding_quantizer is None else embedding_quantizer
        dropped, first = (Dropped(each, dropout) if dropout else each for each in (active, first))
        inputs = {"input_quantizer": dropped, "hidden_quantizer": active}
        settings = {"num_layers": layers, **inputs, **quantizers}
        self.embedding = nn.Embedding(tokens, embedding_features)
        self.recurrent: QuantLSTM | QuantRNN
        if cell == "lstm":
            self.recurrent = QuantLSTM(embedding_features, hidden_features, **settings)
        else:
            self.recurrent = QuantRNN(embedding_features, hidden_features, nonlinearity=nonlinearity, **settings)
        self.recurrent.cells[0].get_submodule("input_product").input_quantizer = copy.deepcopy(first)
        copies = {name: copy.deepcopy(quantizer) for name, quantizer in quantizers.items()}
        self.scores = QuantLinear(hidden_features, tokens, input_quantizer=copy.deepcopy(dropped), **copies)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return the scores of what comes after each token, and the state after the last.

        Args:
            tokens: int64 `[T, B]`, T steps of B sequences.
            state: before the first step, as the recurrent layer's; `None` is all zeros.

        Returns:
            Scores float32 `[T, B, tokens]`, and the state.
        """
        hidden, state = self.recurrent(self.embedding(tokens), state)  # [T, B, hidden_features]
        return self.scores(hidden), state

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Features of each part of the state that `step` takes: layer by layer."""
        return self.recurrent.state_sizes

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the scores after one token of each sequence, and the next state.

        This is what a packed network does.

        Args:
            tokens: int64 or int32 `[B]`.
            state: for each of `state_sizes` a tensor `[B, size]`.
        """
        hidden, state = self.recurrent.step(self.embedding(tokens), state)
        return self.scores(hidden), state
