"""Convolutional networks and single layers, from pixels to scores, at several widths.

Ours takes raw bytes and does everything in the timed call. The peers run the same layer shapes: torch and ONNX Runtime
the float network of `_float_net.py` (the same for every width of ours), larq compute engine its binary form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from .. import ir
from ..runtime import Session
from . import _conv_onnx, _conv_torch, _larq
from ._blueprint import Blueprint, convnet, resnet18, single_layer, vgg_small
from ._case import Contest, Peer, Setting, case
from ._float_net import float_nodes
from ._packed_net import Widths, to_graph
from ._torch_check import check_equal

_SIZES = (1, 2, 4, 8)
_ASKED = ((1, 1), (1, 2), (2, 2), (4, 4), (8, 8))
_LAYERS = ((56, 64), (28, 128), (14, 256), (7, 512))


def contest(blueprint: Blueprint, widths: Widths, batch: int, setting: Setting) -> Contest:
    """Build the contest on random input; check that ours equals torch float32.

    Args:
        blueprint: the network.
        widths: bits of ours.
        batch: images in a call.
        setting: threads, instruction set, seed, where larq compute engine is.

    Raises:
        FeatherbitError: they differ.
    """
    graph = to_graph(blueprint, widths, setting.seed)
    session = Session(graph, isa=setting.isa, threads=setting.threads)
    x = random_input(graph, batch, setting.seed)
    check_equal(session.run, graph, x)
    return Contest(lambda: session.run(x), peers(blueprint, widths, batch, setting))


def peers(blueprint: Blueprint, widths: Widths, batch: int, setting: Setting) -> tuple[Peer, ...]:
    """Return the peers of a network, ready to be called.

    Args:
        blueprint: the network.
        widths: bits of ours; larq compute engine takes part at 1 and 1 alone.
        batch: images in a call.
        setting: threads, seed, where larq compute engine is.
    """
    height, width, channels = blueprint.image
    rng = np.random.default_rng(setting.seed)
    x = rng.uniform(-1.0, 1.0, (batch, channels, height, width)).astype(np.float32)
    nodes = float_nodes(blueprint, setting.seed)
    if widths == Widths(1, 1):
        larq = _larq.peers(blueprint, batch, setting.threads, setting.lce_python)
    else:
        larq = _larq.missing("it has weights and activations of 1 bit alone")
    return (
        _conv_torch.peer(nodes, torch.from_numpy(x)),
        _conv_onnx.float32_peer(nodes, x, setting.threads),
        _conv_onnx.int8_peer(nodes, x, setting.threads),
        *larq,
    )


def random_input(graph: ir.Graph, batch: int, seed: int) -> NDArray[np.generic]:
    """Return random bytes, or numbers around zero, as the graph takes them.

    Their shape is `[batch, *shape]`.
    """
    rng, shape = np.random.default_rng(seed), (batch, *graph.input.shape)
    if graph.input.dtype == "uint8":
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return rng.uniform(-1.0, 1.0, shape).astype(np.float32)


def _register(
    name: str, what: str, make: Callable[[], Blueprint], widths: Widths, batch: int = 1, *, extra: bool = False
) -> None:
    bits = f"{widths.weight_bits}-bit weights, {widths.activation_bits}-bit activations"
    images = "one image a call" if batch == 1 else f"{batch} images in one call"

    @case(name, f"{what}, {bits}, {images}", graph=lambda: to_graph(make(), widths, Setting().seed), extra=extra)
    def build(setting: Setting) -> Contest:
        return contest(make(), widths, batch, setting)


def _register_networks() -> None:
    what = "the paper's CIFAR-10 ConvNet"
    for weight_bits, activation_bits in ((w, a) for w in _SIZES for a in _SIZES):
        widths, extra = Widths(weight_bits, activation_bits), (weight_bits, activation_bits) not in _ASKED
        _register(f"convnet-cifar10-{widths}-batch1", what, convnet, widths, extra=extra)
    for batch in (8, 32, 128):
        _register(f"convnet-cifar10-w1a1-batch{batch}", what, convnet, Widths(), batch, extra=batch != 32)
    _register("vgg-small-w1a1-batch1", "VGG-small at 32 x 32, both ends 8-bit", vgg_small, Widths())
    _register("resnet18-w1a1-batch1", "ResNet-18 at 224 x 224, both ends 8-bit", resnet18, Widths())


def _register_layers() -> None:
    for kernel in (3, 1):
        for pixels, channels in _LAYERS:
            what = f"4 convolutions {kernel} x {kernel} in a row, {channels} channels at {pixels} x {pixels}"
            for width in (1, 2, 8):
                name = f"conv-{kernel}x{kernel}-{pixels}x{channels}-w{width}a{width}"
                make = partial(single_layer, kernel, pixels, channels)
                _register(name, what, make, Widths(width, width), extra=width > 1)


_register_networks()
_register_layers()
