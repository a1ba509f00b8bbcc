"""Residual networks with a shortcut around every low-bit convolution.

A sign loses so much that a shortcut past two binary convolutions, as in a float network, is not enough; one around each
keeps real values flowing. The real values are float32; every product has quantized operands:

* the 3 x 3 convolutions see the sign of the shifted values (or any given activation quantizer);
* the first convolution sees the 8-bit image, with 8-bit weights;
* where a shortcut must shrink, the values are quantized to 8 bits, averaged over 2 x 2, quantized to 8 bits again and
  multiplied by 8-bit weights (1 x 1): Bi-Real Net's average pooling and 1 x 1 convolution, which is in float there;
* the features are quantized to 8 bits before the global average and again before the last layer, of 8-bit weights.

So every sum is one of integers. Where real values are quantized to 8 bits they are divided by 8 first, which is exact:
a sum of a few batch norms' outputs rarely exceeds 8.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ..errors import InputError
from ..layers import ChannelShift, FixedPointInput, QuantConv2d, QuantLinear, RPReLU, set_gradient_quantizer
from ..quantizers import LinearQuant, Sign, UnsignedQuant

_TO_UNIT = 2.0**-3  # real values of -8 to 8 become fixed-point numbers of -1 to 1
Stem = Literal["imagenet", "cifar"]


class ResidualConv(nn.Module):
    """One low-bit 3 x 3 convolution with the shortcut around it.

    Forward: `rprelu(norm(conv(activation(x + shift))) + shortcut(x))`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: 1, or 2 with a shrinking shortcut.
        weight_quantizer: of the convolution, copied.
        activation: of its input, copied.

    Source: Liu et al., ReActNet (arXiv 2003.03488), its RSign and RPReLU; Liu et al., Bi-Real Net (arXiv 1808.00278),
    its shortcuts.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, weight_quantizer: nn.Module, activation: nn.Module
    ) -> None:
        super().__init__()
        self.shift = ChannelShift(in_channels)
        self.conv = QuantConv2d(
            in_channels,
            out_channels,
            3,
            stride=stride,
            padding=1,
            bias=False,
            input_quantizer=copy.deepcopy(activation),
            weight_quantizer=copy.deepcopy(weight_quantizer),
        )
        self.norm = nn.BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else ShrinkingShortcut(in_channels, out_channels, stride)
        self.act = RPReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return float `[B, out_channels, H / stride, W / stride]`."""
        activations: Tensor = self.act(self.norm(self.conv(self.shift(x))) + self.shortcut(x))
        return activations


class ShrinkingShortcut(nn.Module):
    """Change size and channels of real values by an 8-bit 1 x 1 convolution.

    Forward: `norm(conv(q(pool(q(x / 8)))))`, with q the 8-bit `LinearQuant` and a pooling by the average.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: edge of the pooling; 1 leaves it out.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.quantizer = LinearQuant(8)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv = QuantConv2d(
            in_channels,
            out_channels,
            1,
            bias=False,
            input_quantizer=LinearQuant(8),
            weight_quantizer=LinearQuant(8),
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return float `[B, out_channels, H / stride, W / stride]`."""
        shrunk: Tensor = self.norm(self.conv(self.pool(self.quantizer(x * _TO_UNIT))))
        return shrunk


class ResNet(nn.Module):
    """A residual network with low-bit 3 x 3 convolutions, each with its own shortcut.

    Args:
        classes: number of outputs.
        widths: channels of each stage; each but the first halves height and width.
        blocks: pairs of convolutions of each stage.
        stem: `"imagenet"`: 7 x 7 convolution of stride 2, 3 x 3 max pooling of stride 2; `"cifar"`: 3 x 3 convolution.
        image_channels: channels of an image.
        weight_quantizer: of the 3 x 3 convolutions, copied for each; by default the sign.
        activation: of their inputs, copied for each; by default `Sign()`.
        gradient_quantizer: of every layer's output gradient, copied for each; by default none.

    Raises:
        InputError: not one number of blocks for each width.

    Source: He et al. (arXiv 1512.03385) for the shape, Bi-Real Net and ReActNet for the blocks (`ResidualConv`).
    Differs: the paper's batch norm after the last layer, for its square hinge loss; pooling before the batch norm.

    >>> import torch
    >>> ResNet(10, [4, 8], [1, 1], "cifar").eval()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape
    torch.Size([1, 10])
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        stem: Stem,
        *,
        image_channels: int = 3,
        weight_quantizer: nn.Module | None = None,
        activation: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not widths or len(widths) != len(blocks) or min(blocks) < 1:
            raise InputError(f"each width needs a number of blocks, got {list(widths)} and {list(blocks)}")
        weights = Sign(window=None) if weight_quantizer is None else weight_quantizer
        active = Sign() if activation is None else activation
        self.input = FixedPointInput(bits=8)
        self.stem = _stem(image_channels, widths[0], stem)
        self.stages = nn.Sequential()
        depth = widths[0]
        for i, (width, pairs) in enumerate(zip(widths, blocks, strict=True)):
            convolutions = nn.Sequential()
            for j in range(2 * pairs):
                stride = 2 if i > 0 and j == 0 else 1
                convolutions.append(ResidualConv(depth, width, stride, weights, active))
                depth = width
            self.stages.append(convolutions)
        self.features = UnsignedQuant(8)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = QuantLinear(
            depth, classes, bias=False, input_quantizer=UnsignedQuant(8), weight_quantizer=LinearQuant(8)
        )
        self.norm = nn.BatchNorm1d(classes, eps=1e-4)
        set_gradient_quantizer(self, gradient_quantizer)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores, float `[B, classes]`.

        Args:
            x: uint8 `[B, image_channels, H, W]`; a multiple of 2 for each halving.
        """
        x = self.stages(self.stem(self.input(x)))  # [B, C, H', W'], real values
        x = self.flatten(self.pool(self.features(x * _TO_UNIT)))  # [B, C]
        scores: Tensor = self.norm(self.linear(x))
        return scores


def _stem(image_channels: int, width: int, stem: Stem) -> nn.Sequential:
    large = stem == "imagenet"
    conv = QuantConv2d(
        image_channels,
        width,
        7 if large else 3,
        stride=2 if large else 1,
        padding=3 if large else 1,
        bias=False,
        weight_quantizer=LinearQuant(8),
    )
    pool = [nn.MaxPool2d(3, stride=2, padding=1)] if large else []
    return nn.Sequential(conv, *pool, nn.BatchNorm2d(width), RPReLU(width))


def resnet18(
    classes: int = 1000,
    *,
    stem: Stem = "imagenet",
    image_channels: int = 3,
    weight_quantizer: nn.Module | None = None,
    activation: nn.Module | None = None,
    gradient_quantizer: nn.Module | None = None,
) -> ResNet:
    """Return the 18-layer network: four stages of 64 to 512 channels, two blocks each.

    Args:
        classes: number of outputs.
        stem: as in `ResNet`; the ImageNet one takes images of a multiple of 32 pixels a side, the CIFAR one of 8.
        image_channels: channels of an image.
        weight_quantizer: as in `ResNet`.
        activation: as in `ResNet`.
        gradient_quantizer: as in `ResNet`.
    """
    return ResNet(
        classes,
        (64, 128, 256, 512),
        (2, 2, 2, 2),
        stem,
        image_channels=image_channels,
        weight_quantizer=weight_quantizer,
        activation=activation,
        gradient_quantizer=gradient_quantizer,
    )


def resnet20(
    classes: int = 10,
    *,
    image_channels: int = 3,
    weight_quantizer: nn.Module | None = None,
    activation: nn.Module | None = None,
    gradient_quantizer: nn.Module | None = None,
) -> ResNet:
    """Return the 20-layer network for CIFAR.

    It has three stages of 16 to 64 channels, three blocks each.

    Args:
        classes: number of outputs.
        image_channels: channels of an image.
        weight_quantizer: as in `ResNet`.
        activation: as in `ResNet`.
        gradient_quantizer: as in `ResNet`.
    """
    return ResNet(
        classes,
        (16, 32, 64),
        (3, 3, 3),
        "cifar",
        image_channels=image_channels,
        weight_quantizer=weight_quantizer,
        activation=activation,
        gradient_quantizer=gradient_quantizer,
    )
