"""Gradient estimators: what a quantizer passes backward in place of its true gradient, which is zero almost everywhere.

An estimator is an object of its own, taken by any quantizer: `estimator(rule, x)` computes `rule(x)`, however the rule
rounds, and gives it the estimator's gradient. So a rule needs no backward pass, and an estimator knows no rule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ._clipped import pass_between

Rule = Callable[[Tensor], Tensor]
"""A quantizer's forward rule; it must not change its argument."""

_FLAT = 80.0  # beyond it the swish estimator is below 1e-32, and infinity over infinity is not reached


def straight_through(gradient: Tensor, x: Tensor, window: float | None) -> Tensor:
    """Pass the gradient where `|x| <= window`, zero elsewhere and where `x` is NaN.

    Args:
        gradient: gradient at the quantizer's output, any shape, finite.
        x: the quantizer's input, same shape.
        window: half-width of the pass-through window, > 0; `None` passes everything.

    Returns:
        The gradient at the quantizer's input, same shape and dtype as `gradient`.

    Source: the paper's `g_r = g_q * 1[|r| <= 1]` (section 1, straight-through estimator).
    Differs: the window is a parameter, which also gives the paper's "relaxed" hard tanh.

    >>> straight_through(torch.ones(4), torch.tensor([-2.0, -1.0, 0.5, 1.5]), 1.0).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    if window is None:
        return gradient
    return pass_between(gradient, x, -window, window)


class Estimator(ABC):
    """A rule for the gradient of what has none.

    A new one is a frozen dataclass with a `pass_back`; see `Polynomial`.

    >>> class Half(Estimator):
    ...     def pass_back(self, gradient, x):
    ...         return gradient * 0.5
    >>> x = torch.tensor([0.3], requires_grad=True)
    >>> Half()(torch.round, x).sum().backward()
    >>> x.grad.tolist()
    [0.5]
    """

    @abstractmethod
    def pass_back(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient at the quantizer's input.

        Args:
            gradient: gradient at the quantizer's output, any shape.
            x: the quantizer's input, same shape.

        Returns:
            Same shape and dtype as `gradient`.
        """

    def __call__(self, rule: Rule, x: Tensor) -> Tensor:
        """Return `rule(x)`, with this estimator's gradient.

        Args:
            rule: maps a tensor to one of the same shape.
            x: any shape, floating point.
        """
        if not (torch.is_grad_enabled() and x.requires_grad):
            return rule(x)
        result: Tensor = _Estimated.apply(x, rule, self)  # type: ignore[no-untyped-call]
        return result


class _Estimated(torch.autograd.Function):
    """Any rule forward, an estimator backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Rule, estimator: Estimator) -> Tensor:
        ctx.estimator = estimator
        ctx.save_for_backward(x)
        return rule(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.estimator.pass_back(gradients[0], *ctx.saved_tensors), None, None


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """Pass the gradient inside a window, nothing outside; `None` passes all.

    Backward: `g * 1[|x| <= window]`, the gradient of a hard tanh.

    Args:
        window: > 0; `None` is the identity.

    Raises:
        InputError: a window that is not positive.

    Source: the paper's section 1, straight-through estimator; a larger window is its relaxed hard tanh.

    >>> StraightThrough(2.0).pass_back(torch.ones(2), torch.tensor([1.5, 2.5])).tolist()
    [1.0, 0.0]
    """

    window: float | None = 1.0

    def __post_init__(self) -> None:
        if self.window is not None:
            _check_positive("window", self.window)

    def pass_back(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return `straight_through(gradient, x, window)`."""
        return straight_through(gradient, x, self.window)


@dataclass(frozen=True)
class Polynomial(Estimator):
    """A triangle: the gradient of two parabolas that approximate the sign.

    Backward: `g * (2 / w) * max(0, 1 - |x| / w)`, the gradient of `(x/w) * (2 - |x/w|)`, which is +-1 from `w` on.

    Args:
        window: w, > 0.

    Raises:
        InputError: a window that is not positive.

    Source: Liu et al., Bi-Real Net (arXiv 1808.00278), with w = 1.
    Differs: the window is a parameter.

    >>> Polynomial().pass_back(torch.ones(3), torch.tensor([-2.0, 0.0, 0.5])).tolist()
    [0.0, 2.0, 1.0]
    """

    window: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("window", self.window)

    def pass_back(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient times the triangle."""
        triangle = x.abs().div_(-self.window).add_(1.0).clamp_(min=0.0)
        return gradient * triangle.mul_(2.0 / self.window).to(gradient.dtype)


@dataclass(frozen=True)
class Swish(Estimator):
    """The gradient of a swish-like approximation of the sign, as in BNN+.

    Backward: `g * beta * (2 - u tanh(u / 2)) / (1 + cosh(u))`, `u = beta * x`: the gradient of
    `2 s(u) (1 + u (1 - s(u))) - 1` with the logistic function s. It is negative where `|u|` exceeds about 2.4.

    Args:
        beta: how closely the sign is approximated, > 0.

    Raises:
        InputError: a beta that is not positive.

    Source: Darabi et al., BNN+ (arXiv 1812.11800), the derivative of SignSwish.
    Differs: beta is fixed, not learned.

    >>> Swish(beta=4.0).pass_back(torch.ones(1), torch.tensor([0.0])).tolist()
    [4.0]
    """

    beta: float = 5.0

    def __post_init__(self) -> None:
        _check_positive("beta", self.beta)

    def pass_back(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient times the derivative of SignSwish."""
        u = x.mul(self.beta).clamp_(-_FLAT, _FLAT)
        slope = u.div(2.0).tanh_().mul_(u).neg_().add_(2.0).div_(u.cosh().add_(1.0)).mul_(self.beta)
        return gradient * slope.to(gradient.dtype)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{name} must be positive, got {value!r}")
