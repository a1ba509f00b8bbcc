"""`Tabulated`: a smooth function that evaluation looks up in a table, so that every machine computes the same.

Sigmoid and hyperbolic tangent have no exact float32 value: libraries, and the vector and scalar loops of one library,
differ in the last bit. A table of them has; hardware keeps one too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import InputError

Smooth = Literal["sigmoid", "tanh"]
_EXACT: dict[str, Callable[[float], float]] = {
    "sigmoid": lambda x: 0.5 * math.tanh(0.5 * x) + 0.5,
    "tanh": math.tanh,
}
_FRACTION = 2.0**15
"""Entries are multiples of its inverse, which every library's function rounds to alike."""


@torch.library.custom_op(
    "featherbit::look_up", mutates_args=(), schema="(Tensor x, Tensor table, float step) -> Tensor"
)
def look_up(x: Tensor, table: Tensor, step: float) -> Tensor:
    """Return the table's entry nearest to each element.

    Entry i is for `(i - N / 2) * step`; what lies beyond an end takes the entry at that end, NaN the first one. The
    gradient is the slope between the entries at both sides.

    Args:
        x: float32, any shape.
        table: float32 `[N]`, N even.
        step: distance of entries, > 0.

    Returns:
        Same shape as `x`.

    >>> look_up(torch.tensor([-9.0, 0.1, 0.6]), torch.tensor([-2.0, -1.0, 0.0, 1.0]), 1.0).tolist()
    [-2.0, 0.0, 1.0]
    """
    return table[_places(x, table, step)]


def _places(x: Tensor, table: Tensor, step: float) -> Tensor:
    half = len(table) // 2
    return x.div(step).round_().clamp_(-half, half - 1).nan_to_num_(-half).add_(half).to(torch.int64)


@look_up.register_fake
def _fake(x: Tensor, table: Tensor, step: float) -> Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
    x, table, ctx.step = inputs
    ctx.save_for_backward(x, table)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    x, table = ctx.saved_tensors
    (slope,) = torch.gradient(table, spacing=ctx.step)
    return gradient * slope[_places(x, table, ctx.step)], None, None


look_up.register_autograd(_backward, setup_context=_setup)


class Tabulated(nn.Module):
    """Sigmoid or hyperbolic tangent, looked up in a table when it is evaluated.

    Forward: in training, the function itself; in evaluation, the entry of the table nearest to x, which is within
    `step / 2` times the steepest slope (1/4 and 1) of it.
    Backward: of the function itself; in evaluation, the slope of the table.

    Args:
        function: `"sigmoid"` or `"tanh"`.
        bits: the table has `2^bits` entries, 4 to 12.
        limit: it spans `[-limit, limit)`, a power of two.

    Attributes:
        table: float32 `[2^bits]`, multiples of 2^-15.
        step: distance of entries, a power of two.

    Raises:
        InputError: an unknown function, or a table that is out of range.

    >>> gate = Tabulated("sigmoid").eval()
    >>> gate(torch.tensor([-100.0, 0.0])).tolist(), gate.step
    ([0.000335693359375, 0.5], 0.015625)
    """

    table: Tensor

    def __init__(self, function: Smooth, *, bits: int = 10, limit: float = 8.0) -> None:
        super().__init__()
        if function not in _EXACT:
            raise InputError(f"function must be 'sigmoid' or 'tanh', got {function!r}")
        if bits not in range(4, 13):
            raise InputError(f"a table has 4 to 12 bits, got {bits!r}")
        if not limit > 0 or math.frexp(limit)[0] != 0.5:
            raise InputError(f"limit must be a power of two, got {limit!r}")
        self.function = function
        self.step = 2.0 * limit / 2**bits
        places = [(i - 2 ** (bits - 1)) * self.step for i in range(2**bits)]
        entries = [round(_EXACT[function](x) * _FRACTION) / _FRACTION for x in places]
        self.register_buffer("table", torch.tensor(entries), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the function of each element, same shape."""
        if self.training:
            return torch.sigmoid(x) if self.function == "sigmoid" else torch.tanh(x)
        entry: Tensor = look_up(x, self.table, self.step)
        return entry

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"{self.function}, {len(self.table)} entries, step {self.step}"
