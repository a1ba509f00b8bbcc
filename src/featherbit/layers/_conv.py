"""`QuantConv1d` and `QuantConv2d`: torch convolutions plus their quantizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..errors import InputError
from ._gradient import quantize_gradient
from ._product import Operand, ProductLayer, operand

_Size = int | tuple[int, ...]


class _QuantConv(ProductLayer, _ConvNd):
    """What convolutions of any number of dimensions share; torch's class of that number comes next in line."""

    _convolve: Callable[..., Tensor]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Size,
        stride: _Size = 1,
        padding: str | _Size = 0,
        dilation: _Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        input_quantizer: nn.Module | None = None,
        weight_quantizer: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
        pad_value: float = 0.0,
    ) -> None:
        convolution: Any = super()  # torch's Conv1d or Conv2d
        convolution.__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode
        )
        if pad_value != 0.0 and (padding_mode != "zeros" or hasattr(input_quantizer, "codes")):
            raise InputError(
                f"pad_value {pad_value!r} needs padding_mode 'zeros' and an input quantizer without a scale; "
                "pad with 0, or before the layer"
            )
        self.pad_value = float(pad_value)
        self.take_quantizers(input_quantizer, weight_quantizer, gradient_quantizer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution, float32 `[B, out_channels, *places]`.

        Args:
            x: float `[B, in_channels, *places]`.
        """
        source, weight = operand(self.input_quantizer, x), operand(self.weight_quantizer, self.weight)
        values, padding = source.values, self.padding
        if self.pad_value != 0.0 or self.padding_mode != "zeros":
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            values = F.pad(values, self._reversed_padding_repeated_twice, mode, self.pad_value or None)
            padding = (0,) * len(self.kernel_size)

        def convolve(x: Tensor, w: Tensor) -> Tensor:
            return type(self)._convolve(x, w, None, self.stride, padding, self.dilation, self.groups)

        product = self.summed(convolve, self._by_channel(source._replace(values=values)), self._by_channel(weight))
        product = quantize_gradient(product, self.gradient_quantizer)
        return product if self.bias is None else product + self._of_channels(self.bias)

    def _by_channel(self, part: Operand) -> Operand:
        """Return an operand whose scale, if it has one for each channel, broadcasts over a product's places."""
        scale = part.scale
        return part if scale is None or not scale.ndim else part._replace(scale=self._of_channels(scale))

    def _of_channels(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * len(self.kernel_size))  # [channels, 1, ...]

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        shown: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{shown}, pad_value={self.pad_value}" if self.pad_value else shown


class QuantConv2d(_QuantConv, nn.Conv2d):
    """A 2-d convolution whose weight, input and gradient may be quantized.

    Forward: `conv2d(pad(input_quantizer(x)), weight_quantizer(weight)) + bias`, the bias added after the product. Where
    a quantizer has `codes` and a `scale`, the product runs on the codes and is scaled afterwards.
    Under autocast the product may run in bfloat16; its result is returned as float32. In evaluation mode sums that can
    pass 2^24 are formed in float64, as in `QuantLinear`.
    Backward: each quantizer's own estimator; `gradient_quantizer` is applied to the gradient at the layer's output.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: as in `torch.nn.Conv2d`, like all up to `padding_mode`.
        stride: step of the window.
        padding: places added at each side, or `"same"` or `"valid"`.
        dilation: step between the window's elements.
        groups: parts that do not see each other.
        bias: whether a float bias is added.
        padding_mode: what stands at the added places.
        input_quantizer: applied to the input, before padding; `None` takes it as it comes.
        weight_quantizer: applied to the latent weight; by default the sign, with every gradient passed.
        gradient_quantizer: applied to the gradient at the output; `None` leaves it.
        pad_value: what `padding_mode="zeros"` adds; +-1 keeps a binary input binary.

    The latent weight is `weight`, float `[out_channels, in_channels / groups, *kernel_size]`, initialized uniform in
    (-1, 1), or as its quantizer's `reset_latent` says.

    Raises:
        InputError: a `pad_value` where the padding or the input's quantizer allows none.

    Source: the paper's algorithm 1; initialization as in the authors' code.

    >>> import torch
    >>> QuantConv2d(3, 2, 3, padding=1, bias=False)(torch.ones(1, 3, 5, 5)).shape
    torch.Size([1, 2, 5, 5])
    """

    _convolve = F.conv2d


class QuantConv1d(_QuantConv, nn.Conv1d):
    """A 1-d convolution whose weight, input and gradient may be quantized.

    Forward and backward as `QuantConv2d`, with `conv1d`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: as in `torch.nn.Conv1d`, like all up to `padding_mode`.
        stride: step of the window.
        padding: places added at each side, or `"same"` or `"valid"`.
        dilation: step between the window's elements.
        groups: parts that do not see each other.
        bias: whether a float bias is added.
        padding_mode: what stands at the added places.
        input_quantizer: as in `QuantConv2d`, like all that follow.
        weight_quantizer: by default the sign.
        gradient_quantizer: applied to the gradient at the output.
        pad_value: what `padding_mode="zeros"` adds.

    Raises:
        InputError: a `pad_value` where the padding or the input's quantizer allows none.

    >>> import torch
    >>> QuantConv1d(3, 2, 5, padding=2, bias=False)(torch.ones(1, 3, 9)).shape
    torch.Size([1, 2, 9])
    """

    _convolve = F.conv1d
