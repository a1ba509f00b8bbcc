"""Binarization: the deterministic `Sign` and, for training activations, `StochasticSign`.

Both are custom torch operators, so that a graph captured by `torch.export` names them (`featherbit::sign`). A
stochastic sign in eval mode is the deterministic one, and is captured as such.

`torch.where(x >= 0, 1, -1)` would say the same, but takes eight times as long on a CPU: its mixed boolean and float
operands are not vectorized. A comparison written straight into a float buffer is. (`torch.sign` and `torch.copysign`
are wrong: the first maps zero to a third value, the second maps -0.0 to -1.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..bits import BitFormat
from ._estimators import Estimator, StraightThrough, straight_through
from ._quantizer import Quantizer


@torch.library.custom_op("featherbit::sign", mutates_args=(), schema="(Tensor x, float? window) -> Tensor")
def sign(x: Tensor, window: float | None) -> Tensor:
    """Return +1 where `x >= 0`, else -1; so zero of either sign is +1 and NaN is -1.

    Args:
        x: any shape, floating point.
        window: half-width of the straight-through window in the backward pass; `None` passes everything.

    Returns:
        Same shape and dtype, each value -1 or +1.

    >>> sign(torch.tensor([-0.0, -0.5, float("nan"), 3.0]), None).tolist()
    [1.0, -1.0, -1.0, 1.0]
    """
    return _plus_minus_one(torch.ge(x, 0, out=torch.empty_like(x)))


@torch.library.custom_op("featherbit::stochastic_sign", mutates_args=(), schema="(Tensor x, float? window) -> Tensor")
def stochastic_sign(x: Tensor, window: float | None) -> Tensor:
    """Return +1 with probability `clip((x + 1) / 2, 0, 1)`, else -1; NaN is -1.

    Args:
        x: any shape, floating point.
        window: half-width of the straight-through window in the backward pass; `None` passes everything.

    Returns:
        Same shape and dtype, each value -1 or +1, drawn from torch's global generator.
    """
    uniform = torch.rand_like(x)  # [0, 1): never below 0, always below 1, so the clip needs no code
    return _plus_minus_one(torch.lt(uniform, x.add(1).mul_(0.5), out=uniform))


def _plus_minus_one(zero_one: Tensor) -> Tensor:
    minus_one = torch.full((), -1.0, dtype=zero_one.dtype, device=zero_one.device)
    return torch.add(minus_one, zero_one, alpha=2, out=zero_one)


def _fake(x: Tensor, window: float | None) -> Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: tuple[Tensor, float | None], output: Tensor) -> None:
    x, ctx.window = inputs
    if ctx.window is not None:
        ctx.save_for_backward(x)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    if ctx.window is None:
        return gradient, None
    return straight_through(gradient, ctx.saved_tensors[0], ctx.window), None


for _operator in (sign, stochastic_sign):
    _operator.register_fake(_fake)
    _operator.register_autograd(_backward, setup_context=_setup)


class Sign(Quantizer):
    """Binarize to -1 or +1; zero is +1 and NaN is -1.

    Forward: `+1 if x >= 0 else -1`. Backward: the straight-through estimator with its window, or another estimator.

    Args:
        window: the gradient passes where `|x| <= window`, > 0; `None` passes everything, which is the rule for weights
            (they are clipped instead).
        estimator: gives the gradient instead of the straight-through estimator; `window` then says nothing.

    Raises:
        InputError: a window that is not positive.

    Source: the paper's section 1, deterministic binarization.

    >>> Sign()(torch.tensor([-0.5, 0.0, 2.0])).tolist()
    [-1.0, 1.0, 1.0]
    """

    format = BitFormat(1, "sign")

    def __init__(self, window: float | None = 1.0, *, estimator: Estimator | None = None) -> None:
        super().__init__(StraightThrough(window) if estimator is None else estimator)

    def rule(self, x: Tensor) -> Tensor:
        """Return the sign of each element."""
        signs: Tensor = sign(x, None)
        return signs


class StochasticSign(Sign):
    """Binarize at random in training, by the sign in eval mode.

    Forward: training: +1 with probability `clip((x + 1) / 2, 0, 1)`, else -1; eval: `Sign`.
    Backward: as in `Sign`.

    Args:
        window: as in `Sign`.
        estimator: as in `Sign`.

    Source: the paper's section 1, stochastic binarization; used for activations, never for weights.

    >>> StochasticSign().eval()(torch.tensor([-0.5, 0.0, 2.0])).tolist()
    [-1.0, 1.0, 1.0]
    """

    def rule(self, x: Tensor) -> Tensor:
        """Return a random sign of each element in training, the sign in eval mode."""
        signs: Tensor = stochastic_sign(x, None) if self.training else sign(x, None)
        return signs
