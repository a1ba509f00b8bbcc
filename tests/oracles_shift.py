"""Independent definitions of shift-based training: exact fractions or plain floats, one element at a time, no torch."""

from __future__ import annotations

import math
from fractions import Fraction


def power_of_two(x: float, rounding: str = "nearest") -> float:
    """Return `sign(x) * 2^round(log2 |x|)`, decided in exact arithmetic; zero for zero."""
    if x == 0:
        return x
    magnitude = abs(Fraction(x))
    exponent = 0
    while Fraction(2) ** (exponent + 1) <= magnitude:
        exponent += 1
    while Fraction(2) ** exponent > magnitude:
        exponent -= 1
    below = Fraction(2) ** exponent
    # log2 m > e + 1/2 is m^2 > 2^(2e + 1): no square root, no logarithm.
    up = {"floor": False, "ceil": magnitude > below, "nearest": magnitude**2 > 2 * below**2}[rounding]
    return math.copysign(float(below * 2 if up else below), x)


def is_power_of_two(x: float) -> bool:
    """Return whether `x` is zero or a power of two of either sign."""
    return x == 0 or (math.isfinite(x) and math.frexp(abs(x))[0] == 0.5)


def log_quantized(x: float, bits: int, max_exponent: int, rounding: str, underflow: str) -> float:
    """Return the k-bit logarithmic number of `x`."""
    exponents = range(max_exponent - (2 ** (bits - 1) - 2), max_exponent + 1)
    power = power_of_two(x, rounding) if math.isfinite(x) else x
    if power == 0:
        return 0.0
    magnitude = min(abs(power), 2.0 ** exponents[-1])
    if magnitude < 2.0 ** exponents[0]:
        magnitude = 0.0 if underflow == "zero" else 2.0 ** exponents[0]
    return math.copysign(magnitude, x)


def polynomial_sign(x: float, window: float) -> float:
    """Return the sign's approximation by two parabolas."""
    u = max(-1.0, min(1.0, x / window))
    return 2 * u + u * u if u < 0 else 2 * u - u * u


def swish_sign(x: float, beta: float) -> float:
    """Return the sign's swish-like approximation."""
    logistic = 1 / (1 + math.exp(-beta * x))
    return 2 * logistic * (1 + beta * x * (1 - logistic)) - 1


def shift_norm(
    rows: list[list[float]], gamma: list[float], beta: list[float], eps: float, rounding: str = "nearest"
) -> tuple[list[list[float]], list[float], list[float]]:
    """Return the shift-based batch norm of `rows[sample][channel]`, and each channel's mean and 1 / sigma."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    means = [sum(column) / len(column) for column in columns]
    inverse, normalized = [], []
    for column, mean, g, b in zip(columns, means, gamma, beta, strict=True):
        centered = [x - mean for x in column]
        variance = sum(c * power_of_two(c, rounding) for c in centered) / len(centered)
        inverse.append(1 / math.sqrt(variance + eps))
        factor = power_of_two(inverse[-1], rounding) * power_of_two(g, rounding)
        normalized.append([c * factor + b for c in centered])
    return [list(row) for row in zip(*normalized, strict=True)], means, inverse


def shift_norm_gradients(
    rows: list[list[float]], gradients: list[list[float]], gamma: list[float], eps: float
) -> tuple[list[list[float]], list[float], list[float]]:
    """Return the gradients of input, gamma and beta as the Torch7 code has them."""
    g_rows, g_gamma, g_beta = [], [], []
    for column, gs, scale in zip(zip(*rows, strict=True), zip(*gradients, strict=True), gamma, strict=True):
        n = len(column)
        mean = sum(column) / n
        centered = [x - mean for x in column]
        powers = [power_of_two(c) for c in centered]
        std = power_of_two(1 / math.sqrt(sum(c * p for c, p in zip(centered, powers, strict=True)) / n + eps))
        mean_g = sum(gs) / n
        mean_pg = sum(p * g for p, g in zip(powers, gs, strict=True)) / n
        g_rows.append(
            [(g - mean_g - p * mean_pg * std**2) * std * power_of_two(scale) for g, p in zip(gs, powers, strict=True)]
        )
        g_gamma.append(sum(power_of_two(c * std) * g for c, g in zip(centered, gs, strict=True)))
        g_beta.append(sum(gs))
    return [list(row) for row in zip(*g_rows, strict=True)], g_gamma, g_beta


def shift_adamax(
    theta: float,
    gradients: list[float],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float = 0.0,
    divide: bool = False,
    store_rounded: bool = False,
) -> list[float]:
    """Return the parameter after each step of shift-based AdaMax."""
    m = v = 0.0
    thetas = []
    for t, g in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * g
        v = max(beta2 * v, abs(g))
        correction = 1 - beta1**t
        step = power_of_two(lr / correction) if divide else power_of_two(lr) * power_of_two(correction)
        rounded = power_of_two(v) + eps
        if store_rounded:
            v = rounded
        theta -= step * m / rounded if rounded else 0.0
        thetas.append(theta)
    return thetas
