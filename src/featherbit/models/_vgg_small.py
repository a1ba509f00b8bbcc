"""VGG-small, the usual CIFAR-10 network of the literature on binary weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..quantizers import LinearQuant
from ._convnet import ConvNet
from ._norm import NormKind


class VggSmall(ConvNet):
    """Six convolutions and one linear layer.

    The first and the last have 8-bit weights.

    Order as in `ConvNet`: convolution, [2 x 2 max pooling], batch norm, activation.

    Args:
        image_shape: channels, height and width of an image.
        classes: number of outputs.
        channels: width of each pair of convolutions.
        weight_quantizer: quantizes all weights but the first and the last, copied for each layer; by default the sign.
        activation: follows each hidden batch norm, copied for each; by default `Sign()`.
        gradient_quantizer: quantizes the gradient of every layer's output, copied for each; by default none.
        norm: of the hidden layers, `"batch"` or `"shift"`; the last layer's is an ordinary batch norm.

    Raises:
        InputError: no channels, or an image that is too small for the poolings.

    Source: the VGG-small of Zhang et al., LQ-Nets (arXiv 1807.10029), and of those who compare with it.
    Differs: the first and the last layer have 8 bits, where they stay in float there, so the whole network can be
    packed.

    >>> [name for name, _ in VggSmall((3, 4, 4), 10, channels=[8]).named_children()]
    ['input', 'conv1', 'norm1', 'act1', 'conv2', 'pool2', 'norm2', 'act2', 'flatten', 'linear3', 'norm3']
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        classes: int,
        *,
        channels: Sequence[int] = (128, 256, 512),
        weight_quantizer: nn.Module | None = None,
        activation: nn.Module | None = None,
        gradient_quantizer: nn.Module | None = None,
        norm: NormKind = "batch",
    ) -> None:
        super().__init__(
            image_shape,
            classes,
            channels=channels,
            dense_features=(),
            weight_quantizer=weight_quantizer,
            end_weight_quantizer=LinearQuant(8),
            activation=activation,
            gradient_quantizer=gradient_quantizer,
            norm=norm,
        )
