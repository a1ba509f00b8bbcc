"""Quantizers by the names that recipes use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from ..errors import InputError
from ..quantizers import (
    DorefaActivation,
    DorefaWeight,
    Estimator,
    FittedQuant,
    GradientQuant,
    Identity,
    LinearQuant,
    LogQuant,
    Lsq,
    Polynomial,
    Sign,
    StochasticSign,
    StraightThrough,
    Swish,
    Ternary,
    Underflow,
    UnsignedQuant,
)

WeightKind = Literal["linear", "log", "lsq", "fitted", "dorefa", "ternary", "float"]
ActivationKind = Literal[
    "sign", "stochastic_sign", "linear", "log", "unsigned", "lsq", "dorefa", "relu", "hardtanh", "float"
]
EstimatorKind = Literal["straight_through", "polynomial", "swish"]
GradientKind = Literal["log", "linear"]
GradientScale = Literal["tensor", "sample"]
GradientRounding = Literal["nearest", "stochastic"]


def make_weight_quantizer(kind: WeightKind, bits: int) -> nn.Module:
    """Return a weight quantizer.

    Args:
        kind: `"linear"`: `LinearQuant`, the sign at 1 bit; `"log"`, `"lsq"`, `"fitted"`, `"dorefa"`: from 2 bits on;
            `"ternary"`: 2 bits; `"float"`: none.
        bits: 1 to 8.

    Raises:
        InputError: bits that the kind does not have.
    """
    if kind == "float":
        return Identity()
    if kind == "log":
        return LogQuant(bits)
    if kind == "lsq":
        return Lsq(bits)
    if kind == "fitted":
        return FittedQuant(bits)
    if kind == "dorefa":
        return DorefaWeight(bits)
    if kind == "ternary":
        if bits != 2:
            raise InputError(f"ternary weights have 2 bits, got {bits}; set weight_bits to 2")
        return Ternary()
    return Sign(window=None) if bits == 1 else LinearQuant(bits)


def make_activation(kind: ActivationKind, bits: int, estimator: Estimator) -> nn.Module:
    """Return what follows a batch norm, or stands before a product.

    Args:
        kind: `"sign"`, `"stochastic_sign"`: 1 bit; `"linear"`: `LinearQuant`, the sign at 1 bit; `"log"`: from 2 bits
            on; `"unsigned"`, `"lsq"`, `"dorefa"`: codes from 0 on; `"relu"`, `"hardtanh"`, `"float"`: no quantizer.
        bits: 1 to 8.
        estimator: the gradient of a sign.

    Raises:
        InputError: bits that the kind does not have.
    """
    if kind in ("sign", "stochastic_sign") and bits != 1:
        name = kind.replace("_", " ")
        raise InputError(f"{name}s have 1 bit, got {bits}; set activation_bits to 1 or choose another kind")
    makers: dict[ActivationKind, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "hardtanh": nn.Hardtanh,
        "sign": lambda: Sign(estimator=estimator),
        "stochastic_sign": lambda: StochasticSign(estimator=estimator),
        "log": lambda: LogQuant(bits),
        "unsigned": lambda: UnsignedQuant(bits),
        "float": Identity,
        "lsq": lambda: Lsq(bits, signed=False),
        "dorefa": lambda: DorefaActivation(bits),
        "linear": lambda: Sign(estimator=estimator) if bits == 1 else LinearQuant(bits),
    }
    return makers[kind]()


def make_estimator(kind: EstimatorKind, window: float | None) -> Estimator:
    """Return a gradient estimator of a sign.

    Args:
        kind: `"straight_through"` with its window; `"polynomial"`, a triangle of that half-width; `"swish"`.
        window: > 0; `None`, for `"straight_through"` only, passes everything.

    Raises:
        InputError: no window for a polynomial.
    """
    if kind == "swish":
        return Swish()
    if kind == "straight_through":
        return StraightThrough(window)
    if window is None:
        raise InputError("the polynomial estimator needs a window; set model.window")
    return Polynomial(window)


def make_gradient_quantizer(
    bits: int | None, kind: GradientKind, scale: GradientScale, rounding: GradientRounding
) -> nn.Module | None:
    """Return a quantizer of gradients.

    Args:
        bits: 2 to 8; `None` leaves gradients in float.
        kind: `"log"`: `LogQuant` whose smallest magnitudes become zero; `"linear"`: `LinearQuant`.
        scale: per `"tensor"` or per `"sample"`.
        rounding: `"nearest"`, or `"stochastic"`, which is unbiased.
    """
    if bits is None:
        return None
    if kind == "linear":
        return GradientQuant(LinearQuant(bits, rounding=rounding), per=scale)
    underflow: Underflow = "stochastic" if rounding == "stochastic" else "zero"
    return GradientQuant(LogQuant(bits, rounding=rounding, underflow=underflow), per=scale)
