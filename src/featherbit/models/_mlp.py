"""The paper's multi-layer perceptron."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

from torch import nn

from ..layers import FixedPointInput, QuantLinear, set_gradient_quantizer
from ..quantizers import Sign
from ._norm import NormKind, make_norm


class Mlp(nn.Sequential):
    """Dense layers with low-bit weights and activations, each with a batch norm.

    Order: 8-bit input, flatten, [dropout], n x (linear, batch norm, sign, [dropout]), linear, batch norm.
    Dropout stands between the sign and the next layer and is left out where its rate is 0.

    Args:
        in_features: number of pixels of an image.
        hidden_features: width of each hidden layer.
        hidden_layers: number of hidden layers, >= 1.
        classes: number of outputs.
        input_dropout: share of pixels set to 0 in training.
        hidden_dropout: share of activations set to 0 in training.
        activation_quantizer: quantizes the activations, copied for each layer; by default `Sign()`.
        weight_quantizer: quantizes every weight, copied for each layer; by default the sign.
        gradient_quantizer: quantizes the gradient of every layer's output, copied for each; by default none.
        norm: of the hidden layers, `"batch"` or `"shift"`; the last layer's is an ordinary batch norm.

    Source: the paper's MNIST network: 3 x 4096, dropout 0.2 and 0.5, batch norm with eps 1e-4 and momentum 0.1.

    >>> [name for name, _ in Mlp(64, 8, 1, 10).named_children()]
    ['input', 'flatten', 'linear1', 'norm1', 'sign1', 'linear2', 'norm2']
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        hidden_layers: int,
        classes: int,
        *,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        activation_quantizer: nn.Module | None = None,
        weight_quantizer: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
        norm: NormKind = "batch",
    ) -> None:
        super().__init__()
        active = Sign() if activation_quantizer is None else activation_quantizer
        weights = Sign(window=None) if weight_quantizer is None else weight_quantizer
        widths = [in_features, *[hidden_features] * hidden_layers, classes]
        for name, module in _parts(widths, input_dropout, hidden_dropout, active, weights, norm):
            self.add_module(name, module)
        set_gradient_quantizer(self, gradient_quantizer)


def _parts(
    widths: list[int],
    input_dropout: float,
    hidden_dropout: float,
    active: nn.Module,
    weights: nn.Module,
    norm: NormKind,
) -> Iterator[tuple[str, nn.Module]]:
    yield "input", FixedPointInput(bits=8)
    yield "flatten", nn.Flatten()  # [B, *image] -> [B, in_features]
    if input_dropout:
        yield "dropout0", nn.Dropout(input_dropout)
    last = len(widths) - 1
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        yield f"linear{i}", QuantLinear(fan_in, fan_out, bias=False, weight_quantizer=copy.deepcopy(weights))
        yield f"norm{i}", make_norm("batch" if i == last else norm, fan_out)
        if i == last:
            return
        yield f"sign{i}", copy.deepcopy(active)
        if hidden_dropout:
            yield f"dropout{i}", nn.Dropout(hidden_dropout)
