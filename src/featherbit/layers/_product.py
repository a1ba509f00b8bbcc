"""What every layer with a product shares: its quantizers, and what it does to operands before it and to its result.

A quantizer whose scale is no power of two offers `codes(x)` and `scale`, or both at once as `coded(x)`; the product
then runs on integer codes, which sum exactly in float32 and in any order, and the scales multiply its result. Where
sums can pass 2^24, a layer in evaluation mode forms them in float64, so that they are exact there too, and rounds them
to float32 once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..bits import BitFormat
from ..quantizers import Sign

_MAX_EXACT = 2**24  # every integer up to this magnitude is a float32
_MAX_CODE = 2**8 - 1  # the largest integer of 8 bits, and what an input without a format of its own is taken for


class ProductLayer(nn.Module):
    """A torch layer with a weight, and the quantizers of its product."""

    weight: Any  # a parameter, and so is the bias, or None; torch's layers declare each its own way
    bias: Any
    input_quantizer: nn.Module | None
    weight_quantizer: nn.Module
    gradient_quantizer: nn.Module | None

    def take_quantizers(self, source: nn.Module | None, weight: nn.Module | None, gradient: nn.Module | None) -> None:
        """Take the quantizers, and let the weight's draw it anew if it wants to.

        Args:
            source: the input's; `None` takes the input as it comes.
            weight: the weight's; `None` is the sign, with every gradient passed.
            gradient: that of the output's gradient; `None` leaves it.
        """
        self.input_quantizer = source
        self.weight_quantizer = Sign(window=None) if weight is None else weight
        self.gradient_quantizer = gradient
        reset: Any = getattr(self.weight_quantizer, "reset_latent", None)
        if reset is not None:
            reset(self.weight)

    def reset_parameters(self) -> None:
        """Draw the latent weight uniform in (-1, 1) and set the bias to zero."""
        nn.init.uniform_(self.weight, -1.0, 1.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def summed(self, product: Callable[[Tensor, Tensor], Tensor], source: Operand, weight: Operand) -> Tensor:
        """Return the product of two operands, times their scales, as float32.

        In evaluation mode, where sums of the integers behind a quantized weight and codes of the input can pass 2^24,
        it is formed in float64, where they are exact, and rounded to float32 once. An input whose quantizer is not the
        layer's own is taken for 8-bit codes.

        Args:
            product: of the input's values and the weight's.
            source: the input.
            weight: `[out, ...]`.
        """
        if self.training or not self._is_wide(weight.values):
            return finish(product(source.values, weight.values), source, weight)
        return finish(product(source.values.double(), weight.values.double()).float(), source, weight)

    def _is_wide(self, weight: Tensor) -> bool:
        """Whether sums can pass what float32 holds exactly, by the widths of both operands."""
        of_weight = _largest(self.weight_quantizer)
        if of_weight is None:
            return False
        of_input = _largest(self.input_quantizer) or _MAX_CODE
        return math.prod(weight.shape[1:]) * of_input * of_weight > _MAX_EXACT

    @property
    def quantized_weight(self) -> Tensor:
        """The weight that the layer stands for, shaped like the latent one."""
        weight: Tensor = self.weight_quantizer(self.weight)
        return weight


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
    if hasattr(scaled, "coded"):
        return Operand(*scaled.coded(x))
    if not hasattr(scaled, "codes"):
        return Operand(scaled(x), None)
    return Operand(scaled.codes(x), scaled.scale)  # in this order: a learned scale looks at what was coded


def _largest(quantizer: nn.Module | None) -> int | None:
    """Return the largest integer of a format, at least; `None` where there is none, or one of more than 8 bits."""
    form = getattr(quantizer, "format", None)
    if not isinstance(form, BitFormat):
        return None
    largest: int = 2**form.bits - 1  # of odd codes, as DoReFa's weights are; those in two's complement reach half of it
    if form.encoding == "power_of_two":
        largest = 2 ** (2 ** (form.bits - 1) - 2)
    return largest if largest <= _MAX_CODE else None


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
