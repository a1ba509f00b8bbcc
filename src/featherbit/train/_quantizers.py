"""Quantizers by the names that recipes use."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ..quantizers import Identity, LinearQuant, Sign, StochasticSign

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
    return Sign(window) if bits == 1 else LinearQuant(bits)
