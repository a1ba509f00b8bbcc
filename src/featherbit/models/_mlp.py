"""The paper's multi-layer perceptron."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

from torch import nn

from ..layers import FixedPointInput, QuantLinear
from ..quantizers import Sign


class Mlp(nn.Sequential):
    """Dense layers with binary weights and activations, each with a batch norm.

    Order: 8-bit input, flatten, [dropout], n x (linear, batch norm, sign, [dropout]), linear, batch norm.
    Dropout stands between the sign and the next layer and is left out where its rate is 0.

    Args:
        in_features: number of pixels of an image.
        hidden_features: width of each hidden layer.
        hidden_layers: number of hidden layers, >= 1.
        classes: number of outputs.
        input_dropout: share of pixels set to 0 in training.
        hidden_dropout: share of activations set to 0 in training.
        activation_quantizer: binarizes the activations, copied for each layer; by default `Sign()`.

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
    ) -> None:
        super().__init__()
        quantizer = Sign() if activation_quantizer is None else activation_quantizer
        widths = [in_features, *[hidden_features] * hidden_layers, classes]
        for name, module in _parts(widths, input_dropout, hidden_dropout, quantizer):
            self.add_module(name, module)


def _parts(
    widths: list[int], input_dropout: float, hidden_dropout: float, quantizer: nn.Module
) -> Iterator[tuple[str, nn.Module]]:
    yield "input", FixedPointInput(bits=8)
    yield "flatten", nn.Flatten()  # [B, *image] -> [B, in_features]
    if input_dropout:
        yield "dropout0", nn.Dropout(input_dropout)
    last = len(widths) - 1
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths), start=1):
        yield f"linear{i}", QuantLinear(fan_in, fan_out, bias=False)
        yield f"norm{i}", nn.BatchNorm1d(fan_out, eps=1e-4, momentum=0.1)
        if i == last:
            return
        yield f"sign{i}", copy.deepcopy(quantizer)
        if hidden_dropout:
            yield f"dropout{i}", nn.Dropout(hidden_dropout)
