"""What every layer with a product does to its operands before it, and to its result after it.

A quantizer whose scale is no power of two offers `codes(x)` and `scale`; the product then runs on integer codes, which
sum exactly in float32 and in any order, and the scales multiply its result.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Operand(NamedTuple):
    """One operand of a product.

    Args:
        values: what enters the product.
        scale: what its result is multiplied by, of one element or one per output channel; `None` is 1.
    """

    values: Tensor
    scale: Tensor | None


def operand(quantizer: nn.Module | None, x: Tensor) -> Operand:
    """Return the codes of a quantizer and their scale, or its values.

    Args:
        quantizer: maps `x`; `None` leaves it.
        x: any shape.

    >>> import torch
    >>> from featherbit.quantizers import DorefaActivation, Sign
    >>> operand(Sign(), torch.tensor([0.3])).scale is None
    True
    >>> operand(DorefaActivation(2), torch.tensor([0.3])).values.tolist()
    [1.0]
    """
    if quantizer is None:
        return Operand(x, None)
    scaled: Any = quantizer
    if not hasattr(scaled, "codes"):
        return Operand(scaled(x), None)
    return Operand(scaled.codes(x), scaled.scale)  # in this order: a learned scale looks at what was coded


def finish(product: Tensor, *operands: Operand) -> Tensor:
    """Return the product as float32, times the scales of its operands.

    Args:
        product: `[B, channels, *places]`, or `[..., channels]` for a linear layer, whose scales then need no places.
        operands: what it was computed from.
    """
    if product.dtype in (torch.bfloat16, torch.float16):
        product = product.float()
    scales = [scale for _, scale in operands if scale is not None]
    if not scales:
        return product
    scale = scales[0] if len(scales) == 1 else scales[0] * scales[1]
    return product * scale


def redraw_latent(quantizer: nn.Module, weight: Tensor) -> None:
    """Let a quantizer draw a new latent weight, if it has a `reset_latent`.

    Args:
        quantizer: the weight's.
        weight: changed in place.
    """
    reset: Any = getattr(quantizer, "reset_latent", None)
    if reset is not None:
        reset(weight)
