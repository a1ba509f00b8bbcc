"""`QuantConv2d`: a torch convolution plus its quantizers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.common_types import _size_2_t

from ..quantizers import Sign
from ._gradient import quantize_gradient


class QuantConv2d(nn.Conv2d):
    """A 2-d convolution whose weight, input and gradient may be quantized.

    Forward: `conv2d(pad(input_quantizer(x)), weight_quantizer(weight)) + bias`, the bias added after the product.
    Under autocast the product may run in bfloat16; its result is returned as float32.
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

    Source: the paper's algorithm 1; initialization as in the authors' code.

    >>> layer = QuantConv2d(3, 2, 3, padding=1, bias=False)
    >>> layer(torch.ones(1, 3, 5, 5)).shape
    torch.Size([1, 2, 5, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _size_2_t,
        stride: _size_2_t = 1,
        padding: str | _size_2_t = 0,
        dilation: _size_2_t = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        input_quantizer: nn.Module | None = None,
        weight_quantizer: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
        pad_value: float = 0.0,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,  # type: ignore[arg-type]
        )
        self.input_quantizer = input_quantizer
        self.weight_quantizer = Sign(window=None) if weight_quantizer is None else weight_quantizer
        self.gradient_quantizer = gradient_quantizer
        self.pad_value = float(pad_value)
        if hasattr(self.weight_quantizer, "reset_latent"):
            self.weight_quantizer.reset_latent(self.weight)

    def reset_parameters(self) -> None:
        """Draw the latent weight uniform in (-1, 1) and set the bias to zero."""
        nn.init.uniform_(self.weight, -1.0, 1.0)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def quantized_weight(self) -> Tensor:
        """The weight that the product uses, shaped like the latent one."""
        weight: Tensor = self.weight_quantizer(self.weight)
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution, float32 `[B, out_channels, H', W']`.

        Args:
            x: float `[B, in_channels, H, W]`.
        """
        if self.input_quantizer is not None:
            x = self.input_quantizer(x)
        if self.padding_mode == "zeros" and self.pad_value != 0.0:
            x = F.pad(x, self._reversed_padding_repeated_twice, value=self.pad_value)  # [B, C, H + 2p, W + 2p]
            product = F.conv2d(x, self.quantized_weight, None, self.stride, 0, self.dilation, self.groups)
        else:
            product = self._conv_forward(x, self.quantized_weight, None)
        if product.dtype in (torch.bfloat16, torch.float16):
            product = product.float()
        product = quantize_gradient(product, self.gradient_quantizer)
        return product if self.bias is None else product + self.bias[:, None, None]
