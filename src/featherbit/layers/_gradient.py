"""Quantized gradients: what a layer's `gradient_quantizer` acts on.

The quantizer sees the gradient of the layer's output once, in the backward pass, before it enters either product: the
one that gives the weight's gradient and the one that gives the input's. Both then have one operand of few bits from the
weight or the input, and one from the gradient.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


def quantize_gradient(x: Tensor, quantizer: nn.Module | None) -> Tensor:
    """Return `x` itself; its gradient goes through a quantizer on the way back.

    Forward: `x`. Backward: `quantizer(g)`.

    Args:
        x: any shape, floating point.
        quantizer: maps a gradient to one of the same shape; `None` leaves it.

    Returns:
        A view of `x`.

    Source: the paper's section 1, k-bit quantizers: gradients are quantized before the products of the backward pass.

    >>> from featherbit.quantizers import LinearQuant
    >>> x = torch.zeros(1, requires_grad=True)
    >>> (quantize_gradient(x, LinearQuant(2)) * 0.3).sum().backward()
    >>> x.grad.item()
    0.5
    """
    if quantizer is None or not (torch.is_grad_enabled() and x.requires_grad):
        return x
    quantized: Tensor = _QuantizedGradient.apply(x, quantizer)  # type: ignore[no-untyped-call]
    return quantized


def set_gradient_quantizer(model: nn.Module, quantizer: nn.Module | None) -> int:
    """Give every layer that takes a gradient quantizer a copy of this one.

    Args:
        model: any module.
        quantizer: see `quantize_gradient`; `None` takes those away that are there.

    Returns:
        How many layers there are.

    >>> from featherbit.layers import QuantLinear
    >>> from featherbit.quantizers import GradientQuant
    >>> set_gradient_quantizer(nn.Sequential(QuantLinear(3, 2), nn.ReLU(), QuantLinear(2, 1)), GradientQuant())
    2
    """
    layers = [module for module in model.modules() if hasattr(module, "gradient_quantizer")]
    for layer in layers:
        layer.gradient_quantizer = copy.deepcopy(quantizer)  # type: ignore[assignment]
    return len(layers)


class _QuantizedGradient(torch.autograd.Function):
    """The identity, whose gradient goes through a quantizer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, quantizer: nn.Module) -> Tensor:
        ctx.quantizer = quantizer
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.quantizer(gradients[0]), None
