"""What latent weights need from an optimizer: a learning rate of their own, and clipping.

A layer takes part when it has a `weight_quantizer` with a fixed range: a one-bit `format`, whose latent weights lie in
[-1, 1], or a `latent_bound`. Nothing here knows a layer class, so a layer of the user's own is treated alike. A learned
range has no bound: its latent weights are ordinary parameters.
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
    """Return gamma, by which the learning rate of a latent weight is multiplied.

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
    """Yield path and latent weight of each layer whose weight quantizer has a range.

    Args:
        model: any module.
    """
    yield from ((path, weight) for path, weight, _ in _bounded(model))


def _bounded(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, float]]:
    """Yield path, latent weight and half-width of its range."""
    for path, module in model.named_modules():
        quantizer = getattr(module, "weight_quantizer", None)
        number_format = getattr(quantizer, "format", None)
        if number_format is None or not isinstance(module.weight, nn.Parameter):
            continue
        bound: float | None = getattr(quantizer, "latent_bound", 1.0 if number_format.bits == 1 else None)
        if bound is not None:
            yield path, module.weight, bound


def parameter_groups(model: nn.Module, learning_rate: float, *, scale: bool = True) -> list[dict[str, Any]]:
    """Return optimizer groups: one per latent weight, one for all the rest.

    Args:
        model: any module.
        learning_rate: the rate of all parameters but latent weights, > 0.
        scale: whether latent weights get `learning_rate * rate_scale(weight)`; else the plain rate.

    Returns:
        Groups with `params`, `lr` and `layer` (the path, empty for the rest), for any torch optimizer.

    Source: the paper's algorithm 1: gamma scales the rate of binary weights only.
    Differs: latent weights of k bits on a fixed grid have the same range as binary ones, so they get it too.
    """
    groups: list[dict[str, Any]] = [
        {"params": [weight], "lr": learning_rate * (rate_scale(weight) if scale else 1.0), "layer": path}
        for path, weight in latent_weights(model)
    ]
    latent = {id(group["params"][0]) for group in groups}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in latent]
    return [*groups, {"params": rest, "lr": learning_rate, "layer": ""}] if rest else groups


def clip_latent_weights(optimizer: torch.optim.Optimizer, model: nn.Module, bound: float = 1.0) -> RemovableHandle:
    """Clip latent weights to their quantizer's range after each optimizer step.

    Args:
        optimizer: the optimizer that updates them.
        model: the module whose latent weights are clipped, each to `bound` times its quantizer's `latent_bound`, which
            is 1 for one bit.
        bound: > 0.

    Returns:
        A handle whose `remove()` ends the clipping.

    Raises:
        InputError: a bound that is not positive.

    Source: the paper's algorithm 1, `W = clip(update(W), -1, 1)`.
    """
    if not bound > 0:
        raise InputError(f"bound must be positive, got {bound!r}")
    limits = [(weight, bound * own) for _, weight, own in _bounded(model)]

    def clip(*_: Any) -> None:
        with torch.no_grad():
            for weight, limit in limits:
                weight.clamp_(-limit, limit)

    return optimizer.register_step_post_hook(clip)
