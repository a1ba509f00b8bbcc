"""Integer codes: the part of a quantizer that has no scale.

A quantizer whose scale is not a power of two (a learned step, a 2^k - 1-th) offers `codes(x)` and `scale` beside its
`forward(x) = codes(x) * scale`. Layers multiply codes by codes, which sums exactly in float32, and scale the result
afterwards; the order of summation then never matters, and packing is exact for any scale.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._clipped import pass_between


@torch.library.custom_op(
    "featherbit::round_codes", mutates_args=(), schema="(Tensor x, Tensor step, int low, int high) -> Tensor"
)
def round_codes(x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    """Return `clamp(round(x / step), low, high)`, ties to even; NaN stays NaN.

    Backward: with `u = x / step` and `g` passed where `low <= u <= high`: `g / step` for x, and the sum of
    `-g * u / step` over each step's elements for the step. The gradient of `codes * step` is then that of a learned
    step: 1 for x inside the range; `codes - u` inside and `codes` outside for the step.

    Args:
        x: any shape, floating point.
        step: of one element, or a shape that broadcasts to that of `x`; > 0.
        low: smallest code.
        high: largest code.

    Returns:
        Whole numbers, shape and dtype of `x`.

    Source: Esser et al., Learned Step Size Quantization (arXiv 1902.08153), equations 1 to 5.

    >>> round_codes(torch.tensor([-1.0, 0.25, 0.75, 9.0]), torch.tensor(0.5), 0, 3).tolist()
    [0.0, 0.0, 2.0, 3.0]
    """
    return x.div(step).round_().clamp_(low, high)


@round_codes.register_fake
def _fake(x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    return torch.empty_like(x)


def _setup(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
    x, step, ctx.low, ctx.high = inputs
    ctx.save_for_backward(x, step)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
    x, step = ctx.saved_tensors
    ratio = x / step
    passed = pass_between(gradient, ratio, ctx.low, ctx.high).div_(step)
    wanted = ctx.needs_input_grad[1]
    of_step = ratio.nan_to_num_(0.0, 0.0, 0.0).mul_(passed).neg_().sum_to_size(step.shape) if wanted else None
    return passed, of_step, None, None


round_codes.register_autograd(_backward, setup_context=_setup)
