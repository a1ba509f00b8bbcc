"""`QuantRNNCell` and `QuantLSTMCell`: one step of one recurrent layer.

A cell has two products, of the input and of the hidden state, each a `QuantLinear`; what is done to one layer's weights
and gradients anywhere is done to theirs. Each operand is quantized where it enters a product, so the state itself, and
what a caller sees, are real numbers as in torch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import InputError
from ._linear import QuantLinear
from ._product import operand
from ._tabulated import Tabulated

State = tuple[Tensor, ...]
"""The hidden state `[..., H]`, and for an LSTM the cell's after it."""


class RecurrentCell(nn.Module):
    """One step of one recurrent layer: the base of both kinds.

    Args:
        input_size: features of the input.
        hidden_size: features of the hidden state.
        bias: whether a float bias is added to the products.
        input_quantizer: applied to the input, each quantizer being a copy of the one given; `None` takes it as it is.
        hidden_quantizer: applied to the hidden state, likewise.
        weight_quantizer: applied to both weights, likewise; by default the sign.
        gradient_quantizer: applied to the gradients of both products, likewise.

    Attributes:
        input_product: `QuantLinear(input_size, gates * hidden_size)`.
        hidden_product: `QuantLinear(hidden_size, gates * hidden_size)`, without a bias.
    """

    gates: int
    states: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        input_quantizer: nn.Module | None = None,
        hidden_quantizer: nn.Module | None = None,
        weight_quantizer: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size

        def product(features: int, source: nn.Module | None, bias: bool) -> QuantLinear:
            copies = [copy.deepcopy(quantizer) for quantizer in (source, weight_quantizer, gradient_quantizer)]
            names = ("input_quantizer", "weight_quantizer", "gradient_quantizer")
            return QuantLinear(features, self.gates * hidden_size, bias, **dict(zip(names, copies, strict=True)))

        self.input_product = product(input_size, input_quantizer, bias)
        self.hidden_product = product(hidden_size, hidden_quantizer, bias=False)

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """Return the state after one step, each `[B, H]`; the first is the output.

        Args:
            x: `[B, input_size]`.
            state: before the step; `None` is all zeros.
        """
        if state is None:
            state = self.zeros(x, x.shape[0])
        given, own = self.input_product.parts(x, self.gates), self.hidden_product.parts(state[0], self.gates)
        return self.advance([a + b for a, b in zip(given, own, strict=True)], state)

    def unroll(self, x: Tensor, batch_sizes: list[int], state: State) -> tuple[Tensor, State]:
        """Run all steps of a batch of sequences.

        The input's product is one for all steps, and weights are quantized once.

        Args:
            x: `[sum(batch_sizes), input_size]`, step after step.
            batch_sizes: how many sequences each step has; none has more than the one before.
            state: each `[batch_sizes[0], H]`.

        Returns:
            The outputs `[sum(batch_sizes), H]` and the state after each sequence's last step.
        """
        given = self.input_product(x)  # [sum, gates * H]
        weight = operand(self.hidden_product.weight_quantizer, self.hidden_product.weight)
        outputs: list[Tensor] = []
        ended: list[State] = []
        for part in given.split(batch_sizes):
            if len(part) < len(state[0]):
                ended.append(tuple(s[len(part) :] for s in state))
                state = tuple(s[: len(part)] for s in state)
            total = part + self.hidden_product.multiply(state[0], weight)
            state = self.advance(total.chunk(self.gates, dim=-1), state)
            outputs.append(state[0])
        if ended:
            state = tuple(torch.cat([part, *rest]) for part, *rest in zip(state, *reversed(ended), strict=True))
        return torch.cat(outputs), state

    def zeros(self, x: Tensor, batch: int) -> State:
        """Return the state before the first step."""
        return tuple(x.new_zeros(batch, self.hidden_size, dtype=torch.float32) for _ in range(self.states))

    def advance(self, totals: Sequence[Tensor], state: State) -> State:
        """Return the next state.

        Args:
            totals: for each gate, the sum of both products, `[B, H]`.
            state: before the step.
        """
        raise NotImplementedError


class QuantRNNCell(RecurrentCell):
    """One step of an Elman network: `h' = f(x W_x + b + h W_h)`.

    Each operand of a product is quantized.

    Args:
        nonlinearity: f, `"tanh"` or `"relu"`; the rest is that of `RecurrentCell`.

    Differs: torch's cell adds two biases.

    >>> cell = QuantRNNCell(3, 2, nonlinearity="relu")
    >>> (h,) = cell(torch.zeros(1, 3))
    >>> h.shape
    torch.Size([1, 2])
    """

    gates, states = 1, 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        **quantizers: nn.Module | None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, **quantizers)
        if nonlinearity not in ("tanh", "relu"):
            raise InputError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nn.ReLU() if nonlinearity == "relu" else Tabulated("tanh")

    def advance(self, totals: Sequence[Tensor], state: State) -> State:
        """Return the next hidden state."""
        (total,) = totals
        return (self.nonlinearity(total),)


class QuantLSTMCell(RecurrentCell):
    """One step of a long short-term memory, each operand of its products quantized.

    `i, f, g, o = x W_x + b + h W_h`, a quarter each; `c' = sigmoid(f) c + sigmoid(i) tanh(g)`;
    `h' = sigmoid(o) tanh(c')`. The functions are looked up when it is evaluated (`Tabulated`).
    The forget gate's bias starts at 1.

    Args:
        input_size: see `RecurrentCell`, as for the rest.

    Source: Hochreiter and Schmidhuber; gates in torch's order.
    Differs: torch's cell adds two biases.

    >>> cell = QuantLSTMCell(3, 2)
    >>> h, c = cell(torch.zeros(1, 3))
    >>> h.shape
    torch.Size([1, 2])
    """

    gates, states = 4, 2

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, **quantizers: nn.Module | None) -> None:
        super().__init__(input_size, hidden_size, bias, **quantizers)
        self.sigmoid, self.tanh = Tabulated("sigmoid"), Tabulated("tanh")
        if bias:
            nn.init.ones_(self.input_product.bias[hidden_size : 2 * hidden_size])

    def advance(self, totals: Sequence[Tensor], state: State) -> State:
        """Return the next hidden and cell state."""
        i, f, g, o = totals
        c = self.sigmoid(f) * state[1] + self.sigmoid(i) * self.tanh(g)
        return self.sigmoid(o) * self.tanh(c), c
