"""What a convolutional network looks like, before anybody builds it: shapes alone, no numbers.

One blueprint makes our packed graph, the float network of torch and ONNX Runtime, and what the larq worker builds, so
that all contestants run the same layer shapes. A chain (`Conv`, `Dense`) holds codes between its layers; a residual
network (`Stem`, `Block`, `Mean`, `Dense`) holds real numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Conv:
    """A convolution of a chain, then max-pooling, batch norm and the quantizer.

    Args:
        channels: of the output.
        kernel: height and width.
        padding: on every side.
        pool: height, width and stride of the max-pooling; 1 is none.
        weight_bits: of ours; 0 is the network's own width.
    """

    channels: int
    kernel: int = 3
    padding: int = 1
    pool: int = 1
    weight_bits: int = 0


@dataclass(frozen=True)
class Stem:
    """The first layer of a residual network.

    A convolution, max-pooling 3x3 with stride 2, batch norm.

    Args:
        channels: of the output.
        kernel: height and width; it is padded by half of it.
        stride: of the convolution.
    """

    channels: int
    kernel: int = 7
    stride: int = 2


@dataclass(frozen=True)
class Block:
    """Two 3x3 convolutions of a residual network.

    Where the stride is 2, a 1x1 convolution stands in the shortcut.

    Args:
        channels: of the output.
        stride: of the first convolution.
    """

    channels: int
    stride: int = 1


@dataclass(frozen=True)
class Mean:
    """The mean over height and width."""


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; the last one of a network gives the scores.

    Args:
        features: of the output.
        weight_bits: of ours; 0 is the network's own width.
    """

    features: int
    weight_bits: int = 0


Layer = Conv | Stem | Block | Mean | Dense


@dataclass(frozen=True)
class Blueprint:
    """A network's layers in order.

    Args:
        image: height, width and channels of the input.
        layers: at least one; a chain, or `Stem`, blocks, `Mean`, `Dense`.
        raw: the input is raw pixels, 8 bits; else activations of the network's own width.
    """

    image: tuple[int, int, int]
    layers: tuple[Layer, ...]
    raw: bool = True

    def as_json(self) -> dict[str, object]:
        """Return it as plain lists and dictionaries, each layer with its kind."""
        layers = [{"kind": type(layer).__name__, **asdict(layer)} for layer in self.layers]
        return {"image": list(self.image), "raw": self.raw, "layers": layers}


def convnet(width: int = 128, image: int = 32) -> Blueprint:
    """Return the paper's ConvNet.

    It is 2 x 128C3 - MP2 - 2 x 256C3 - MP2 - 2 x 512C3 - MP2 - 1024 - 1024 - 10.

    Args:
        width: channels of the first layers.
        image: height and width of the input, a multiple of 8.
    """
    dense = (Dense(8 * width), Dense(8 * width), Dense(10))
    return Blueprint((image, image, 3), (*_pairs(width), *dense))


def vgg_small(width: int = 128, image: int = 32) -> Blueprint:
    """Return VGG-small: the ConvNet's convolutions and one dense layer.

    Both ends have 8 bits.

    Args:
        width: channels of the first layers.
        image: height and width of the input, a multiple of 8.
    """
    first, *others = _pairs(width)
    return Blueprint((image, image, 3), (replace(first, weight_bits=8), *others, Dense(10, weight_bits=8)))


def resnet18(width: int = 64, image: int = 224, classes: int = 1000) -> Blueprint:
    """Return ResNet-18.

    Args:
        width: channels of the first stage.
        image: height and width of the input, a multiple of 32.
        classes: scores.
    """
    blocks = [Block(width), Block(width)]
    for channels in (2 * width, 4 * width, 8 * width):
        blocks += [Block(channels, stride=2), Block(channels)]
    return Blueprint((image, image, 3), (Stem(width), *blocks, Mean(), Dense(classes, weight_bits=8)))


def single_layer(kernel: int, pixels: int, channels: int, depth: int = 4) -> Blueprint:
    """Return one convolution several times in a row.

    That way packing its first input does not count.

    Args:
        kernel: height and width.
        pixels: height and width of input and output.
        channels: of input and output.
        depth: how many times.
    """
    layer = Conv(channels, kernel, padding=kernel // 2)
    return Blueprint((pixels, pixels, channels), (layer,) * depth + (Mean(),), raw=False)


def _pairs(width: int) -> tuple[Conv, ...]:
    return tuple(Conv(channels, pool=pool) for channels in (width, 2 * width, 4 * width) for pool in (1, 2))
