"""Gradient estimators: what a quantizer passes backward in place of its true gradient, which is zero almost everywhere.

Each is a function of the gradient at the quantizer's output and of its input, so that any quantizer can use any of
them.
"""

from __future__ import annotations

from torch import Tensor


def straight_through(gradient: Tensor, x: Tensor, window: float | None) -> Tensor:
    """Pass the gradient where `|x| <= window`, zero elsewhere and where `x` is NaN.

    Args:
        gradient: gradient at the quantizer's output, any shape.
        x: the quantizer's input, same shape.
        window: half-width of the pass-through window, > 0; `None` passes everything.

    Returns:
        The gradient at the quantizer's input, same shape and dtype as `gradient`.

    Source: the paper's `g_r = g_q * 1[|r| <= 1]` (section 1, straight-through estimator).
    Differs: the window is a parameter, which also gives the paper's "relaxed" hard tanh.

    >>> import torch
    >>> straight_through(torch.ones(4), torch.tensor([-2.0, -1.0, 0.5, 1.5]), 1.0).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    if window is None:
        return gradient
    return gradient.masked_fill((x.abs() <= window).logical_not_(), 0.0)
