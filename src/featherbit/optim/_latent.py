"""What binary weights need from an optimizer: a learning rate of their own, and clipping.

A layer takes part when it has a `weight_quantizer` with a one-bit `format`; nothing here knows a layer class, so a
layer of the user's own is treated alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import InputError


def rate_scale(weight: Tensor) -> float:
    """Return gamma, by which the learning rate of a binary weight is multiplied.

    `gamma = 1 / sqrt(1.5 / (fan_in + fan_out))`, the inverse of the Glorot coefficient; the fans of a convolution count
    its kernel's elements.

    Args:
        weight: `[out, in, *kernel]`.

    Source: the paper's algorithm 1.

    >>> round(rate_scale(torch.empty(4096, 784)), 2)
    57.04
    """
    if weight.ndim < 2:
        raise InputError(f"a weight of at least 2 dimensions has fans, got shape {tuple(weight.shape)}")
    fan_in = math.prod(weight.shape[1:])
    fan_out = weight.shape[0] * math.prod(weight.shape[2:])
    return 1.0 / math.sqrt(1.5 / (fan_in + fan_out))


def latent_weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield path and latent weight of each layer of `model` whose weight is binary."""
    for path, module in model.named_modules():
        number_format = getattr(getattr(module, "weight_quantizer", None), "format", None)
        if number_format is not None and number_format.bits == 1 and isinstance(module.weight, nn.Parameter):
            yield path, module.weight


def parameter_groups(model: nn.Module, learning_rate: float, *, scale: bool = True) -> list[dict[str, Any]]:
    """Return optimizer groups: one per binary weight, one for all the rest.

    Args:
        model: any module.
        learning_rate: the rate of all parameters but binary weights, > 0.
        scale: whether binary weights get `learning_rate * rate_scale(weight)`; else the plain rate.

    Returns:
        Groups with `params`, `lr` and `layer` (the path, empty for the rest), for any torch optimizer.

    Source: the paper's algorithm 1: gamma scales the rate of binary weights only.
    """
    groups: list[dict[str, Any]] = [
        {"params": [weight], "lr": learning_rate * (rate_scale(weight) if scale else 1.0), "layer": path}
        for path, weight in latent_weights(model)
    ]
    binary = {id(group["params"][0]) for group in groups}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in binary]
    return [*groups, {"params": rest, "lr": learning_rate, "layer": ""}] if rest else groups


def clip_latent_weights(optimizer: torch.optim.Optimizer, model: nn.Module, bound: float = 1.0) -> RemovableHandle:
    """Clip the latent weights to `[-bound, bound]` after each optimizer step.

    Args:
        optimizer: the optimizer that updates them.
        model: the module whose binary layers are clipped.
        bound: > 0.

    Returns:
        A handle whose `remove()` ends the clipping.

    Raises:
        InputError: a bound that is not positive.

    Source: the paper's algorithm 1, `W = clip(update(W), -1, 1)`.
    """
    if not bound > 0:
        raise InputError(f"bound must be positive, got {bound!r}")
    weights = [weight for _, weight in latent_weights(model)]

    def clip(*_: Any) -> None:
        with torch.no_grad():
            for weight in weights:
                weight.clamp_(-bound, bound)

    return optimizer.register_step_post_hook(clip)
