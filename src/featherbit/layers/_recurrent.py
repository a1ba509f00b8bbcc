"""`QuantRNN` and `QuantLSTM`: torch's recurrent layers plus quantizers.

Cells one above the other, unrolled over sequences.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..errors import InputError
from ._cells import QuantLSTMCell, QuantRNNCell, RecurrentCell, State


class Recurrent(nn.Module):
    """Cells one above the other, unrolled over sequences: the base of both kinds.

    Args:
        cells: of the layers, from the input up.
        batch_first: whether sequences are `[B, T, features]` instead of `[T, B, features]`.
        dropout: share of the outputs of every layer but the last that are dropped in training.

    Raises:
        InputError: a dropout out of range.
    """

    def __init__(self, cells: list[RecurrentCell], batch_first: bool, dropout: float) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise InputError(f"dropout must be at least 0 and below 1, got {dropout!r}")
        self.cells = nn.ModuleList(cells)
        self.batch_first = batch_first
        self.dropout = dropout

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Run whole sequences.

        Args:
            input: `[T, B, input_size]`, `[B, T, input_size]` if `batch_first`, `[T, input_size]` for one sequence, or a
                packed sequence.
            hx: the state before the first step: `[layers, B, H]` for an RNN, a pair of such for an LSTM, without B for
                one sequence; `None` is all zeros.

        Returns:
            The last layer's outputs in the form of the input, and the state after each sequence's last step.

        Raises:
            InputError: another rank, an empty sequence, or a state of another shape.
        """
        if isinstance(input, PackedSequence):
            data, sizes, order, inverse = input
            state = self._ordered(self._given(hx, data, int(sizes[0])), order)
            out, state = self._unroll(data, sizes.tolist(), state)
            return PackedSequence(out, sizes, order, inverse), self._returned(self._ordered(state, inverse))
        if input.ndim == 2:
            batch = 0 if self.batch_first else 1
            given = None if hx is None else self._returned(tuple(s.unsqueeze(1) for s in self._as_tuple(hx)))
            out, last = self.forward(input.unsqueeze(batch), given)
            return out.squeeze(batch), self._returned(tuple(s.squeeze(1) for s in self._as_tuple(last)))
        x = input.transpose(0, 1) if self.batch_first else input
        if x.ndim != 3 or len(x) == 0:
            form = "[B, T, features]" if self.batch_first else "[T, B, features]"
            raise InputError(f"sequences {form} of at least one step are needed, got {list(input.shape)}")
        steps, batch = x.shape[:2]
        out, state = self._unroll(x.flatten(0, 1), [batch] * steps, self._given(hx, x, batch))
        out = out.view(steps, batch, -1) if batch else out.new_zeros(steps, 0, out.shape[-1])
        return out.transpose(0, 1) if self.batch_first else out, self._returned(state)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Features of each part of the state that `step` takes: layer by layer."""
        return tuple(cell.hidden_size for cell in self._cells() for _ in range(cell.states))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a single step: what a packed network does.

        Args:
            x: `[B, input_size]`.
            state: for each of `state_sizes` a tensor `[B, size]`.

        Returns:
            The output `[B, H]` and the next state.
        """
        after: list[Tensor] = []
        for cell in self._cells():
            own = cell(x, state[len(after) : len(after) + cell.states])
            x = own[0]
            after.extend(own)
        return x, tuple(after)

    def _cells(self) -> list[RecurrentCell]:
        return [cast(RecurrentCell, cell) for cell in self.cells]

    def _unroll(self, x: Tensor, batch_sizes: list[int], state: State) -> tuple[Tensor, State]:
        """Run all layers on `[sum(batch_sizes), input_size]`, states stacked as `[layers, B, H]`."""
        lasts: list[State] = []
        for i, cell in enumerate(self._cells()):
            if i > 0 and self.dropout:
                x = F.dropout(x, self.dropout, self.training)
            x, last = cell.unroll(x, batch_sizes, tuple(s[i] for s in state))
            lasts.append(last)
        return x, tuple(torch.stack(parts) for parts in zip(*lasts, strict=True))

    def _given(self, hx: Any, x: Tensor, batch: int) -> State:
        """Return the caller's state as a tuple, checked, or zeros."""
        cell = self._cells()[0]
        shape = (len(self.cells), batch, cell.hidden_size)
        if hx is None:
            return tuple(zeros.expand(shape) for zeros in cell.zeros(x, batch))
        state = self._as_tuple(hx)
        if len(state) != cell.states or any(s.shape != shape for s in state):
            got = ", ".join(str(list(s.shape)) for s in state)
            raise InputError(f"the state must be {cell.states} of shape {list(shape)}, got {got}")
        return state

    @staticmethod
    def _as_tuple(hx: Any) -> State:
        return (hx,) if isinstance(hx, Tensor) else tuple(hx)

    @staticmethod
    def _returned(state: State) -> Any:
        """Return a state as torch's layers do: bare if it is one tensor."""
        return state[0] if len(state) == 1 else state

    @staticmethod
    def _ordered(state: State, order: Tensor | None) -> State:
        return state if order is None else tuple(s.index_select(1, order) for s in state)


class QuantRNN(Recurrent):
    """Elman network of one or more layers; each product's operands are quantized.

    Args:
        input_size: features of the input.
        hidden_size: features of each hidden state.
        num_layers: cells above each other.
        nonlinearity: `"tanh"` or `"relu"`.
        bias: whether a float bias is added.
        batch_first: whether sequences are `[B, T, features]`.
        dropout: between layers, in training.
        quantizers: `input_quantizer`, `hidden_quantizer`, `weight_quantizer` and `gradient_quantizer`, as those of
            `RecurrentCell`.

    Source: the paper's recurrent experiments, whose network has ReLUs.

    >>> out, h = QuantRNN(3, 2, num_layers=2)(torch.zeros(5, 1, 3))
    >>> out.shape, h.shape
    (torch.Size([5, 1, 2]), torch.Size([2, 1, 2]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        **quantizers: nn.Module | None,
    ) -> None:
        sizes = _input_sizes(input_size, hidden_size, num_layers)
        cells = [QuantRNNCell(size, hidden_size, bias, nonlinearity, **quantizers) for size in sizes]
        super().__init__(list(cells), batch_first, dropout)


class QuantLSTM(Recurrent):
    """Long short-term memory of one or more layers, with quantized products.

    Args:
        input_size: features of the input.
        hidden_size: features of each state.
        num_layers: cells above each other.
        bias: whether a float bias is added.
        batch_first: whether sequences are `[B, T, features]`.
        dropout: between layers, in training.
        quantizers: `input_quantizer`, `hidden_quantizer`, `weight_quantizer` and `gradient_quantizer`, as those of
            `RecurrentCell`.

    Source: the paper's recurrent experiments.

    >>> out, (h, c) = QuantLSTM(3, 2)(torch.zeros(5, 1, 3))
    >>> out.shape, c.shape
    (torch.Size([5, 1, 2]), torch.Size([1, 1, 2]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        **quantizers: nn.Module | None,
    ) -> None:
        sizes = _input_sizes(input_size, hidden_size, num_layers)
        cells = [QuantLSTMCell(size, hidden_size, bias, **quantizers) for size in sizes]
        super().__init__(list(cells), batch_first, dropout)


def _input_sizes(input_size: int, hidden_size: int, num_layers: int) -> list[int]:
    if num_layers < 1:
        raise InputError(f"num_layers must be at least 1, got {num_layers!r}")
    return [input_size, *[hidden_size] * (num_layers - 1)]
