"""Quantizers by the names that recipes use."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ..quantizers import Identity, LinearQuant, Sign, StochasticSign, StraightThrough, pass_between

WeightKind = Literal["linear", "float"]
ActivationKind = Literal["linear", "stochastic_sign", "relu", "hardtanh"]


def make_weight_quantizer(kind: WeightKind, bits: int) -> nn.Module:
    """Return a weight quantizer: of k bits, the sign at 1 bit, or none."""
    if kind == "float":
        return Identity()
    return Sign(window=None) if bits == 1 else LinearQuant(bits)


def make_activation(kind: ActivationKind, bits: int, window: float | None) -> nn.Module:
    """Return what follows a batch norm: a quantizer of k bits, or a float activation."""
    if kind == "relu":
        return nn.ReLU()
    if kind == "hardtanh":
        return nn.Hardtanh()
    if kind == "stochastic_sign":
        return StochasticSign(window)
    if bits > 1:
        return LinearQuant(bits)
    return Sign(window) if window is None else Sign(estimator=_FastWindow(window))


class _FastWindow(StraightThrough):
    """The straight-through estimator for gradients of images in any memory format."""

    def pass_back(self, gradient: Tensor, x: Tensor) -> Tensor:
        """Return the gradient inside the window, zero outside."""
        assert self.window is not None, "built with a window"
        return pass_between(gradient, x, -self.window, self.window)
