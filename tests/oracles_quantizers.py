"""Independent definitions of the k-bit quantizers and of a convolution: plain Python numbers, and no torch."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal


def nearest_code(x: float, step: float, low: int, high: int) -> int:
    """Return the whole number nearest to `x / step`, ties to even, within a range; all numbers are exact."""
    if math.isinf(x):
        return low if x < 0 else high
    ratio = Decimal(x) / Decimal(step)
    code = int(ratio.quantize(Decimal(1), rounding=ROUND_HALF_EVEN)) if abs(ratio) < 10**6 else int(ratio)
    return max(low, min(high, code))


def unsigned_fixed_point(x: float, bits: int) -> float:
    """Return the nearest k-bit number in [0, 1)."""
    return nearest_code(x, 2.0**-bits, 0, 2**bits - 1) / 2**bits


def learned_step_gradients(x: float, step: float, low: int, high: int) -> tuple[float, float]:
    """Return the derivatives of a learned-step value by x and by the step, equations 3 and 5 of the LSQ paper."""
    if x / step <= low:
        return (1.0 if x / step == low else 0.0), float(low) - (low if x / step == low else 0.0)
    if x / step >= high:
        return (1.0 if x / step == high else 0.0), float(high) - (high if x / step == high else 0.0)
    return 1.0, nearest_code(x, step, low, high) - x / step


def dorefa_weights(weights: list[float], bits: int) -> list[float]:
    """Return the quantized weights of section 2.5 of the DoReFa paper."""
    most = max(abs(math.tanh(w)) for w in weights)
    levels = 2**bits - 1
    shares = [math.tanh(w) / (2.0 * most) + 0.5 for w in weights]
    return [2.0 * (round(share * levels) / levels) - 1.0 for share in shares]


def ternary_weights(weights: list[float], share: float) -> list[float]:
    """Return -1, 0 or +1 by a threshold of a share of the mean absolute weight."""
    threshold = share * sum(abs(w) for w in weights) / len(weights)
    return [0.0 if abs(w) <= threshold else math.copysign(1.0, w) for w in weights]


Image = list[list[list[float]]]  # [channel][row][column]


def convolve(
    image: Image,
    weight: list[Image],
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    pad_value: float = 0.0,
) -> Image:
    """Return a convolution by its definition, `weight` being `[out][in / groups][row][column]`."""
    height, width = len(image[0]), len(image[0][0])
    rows, columns = len(weight[0][0]), len(weight[0][0][0])
    high = (height + 2 * padding[0] - dilation[0] * (rows - 1) - 1) // stride[0] + 1
    wide = (width + 2 * padding[1] - dilation[1] * (columns - 1) - 1) // stride[1] + 1
    per_group, outs = len(image) // groups, len(weight) // groups

    def pixel(channel: int, row: int, column: int) -> float:
        inside = 0 <= row < height and 0 <= column < width
        return image[channel][row][column] if inside else pad_value

    def place(out: int, y: int, x: int) -> float:
        first = out // outs * per_group
        return sum(
            weight[out][c][i][j]
            * pixel(
                first + c,
                y * stride[0] - padding[0] + i * dilation[0],
                x * stride[1] - padding[1] + j * dilation[1],
            )
            for c in range(per_group)
            for i in range(rows)
            for j in range(columns)
        )

    return [[[place(out, y, x) for x in range(wide)] for y in range(high)] for out in range(len(weight))]
