"""torch float32 as a peer: the float network as a module, in the fastest of the ways torch offers.

`torch.compile` is left out: it calls a C++ compiler that the machine may not have, for minutes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._case import Call, Peer
from ._float_net import SOURCE, AddRelu, Convolve, GlobalMean, MaxPool, Multiply, Node
from ._variants import fastest


class FloatNet(nn.Module):
    """The nodes of a float network, executed in order on `[B, C, H, W]`."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        super().__init__()
        self.nodes = tuple(nodes)
        self.layers = nn.ModuleList(_layer(node) for node in nodes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, `[B, features]`."""
        values = {SOURCE: x}
        for node, layer in zip(self.nodes, self.layers, strict=True):
            values[node.output] = layer(*(values[name] for name in node.inputs))
        return values[self.nodes[-1].output]


def peer(nodes: Sequence[Node], x: Tensor) -> Peer:
    """Return torch float32 on a batch, in its fastest form.

    Args:
        nodes: the float network.
        x: float32 `[B, C, H, W]`.
    """
    return fastest("torch float32", variants(nodes, x))


def variants(nodes: Sequence[Node], x: Tensor) -> dict[str, Call]:
    """Return the ways to run a float network, by name.

    Args:
        nodes: the float network.
        x: float32 `[B, C, H, W]`.
    """
    plain = FloatNet(nodes).eval()
    last = _channels_last(FloatNet(nodes).eval())
    x_last = x.to(memory_format=torch.channels_last)
    return {
        "channels first": _call(plain, x),
        "channels last": _call(last, x_last),
        "frozen, channels first": _call(_frozen(plain, x), x),
        "frozen, channels last": _call(_frozen(last, x_last), x_last),
        "frozen for oneDNN": _call(_frozen(plain, x, torch.jit.optimize_for_inference), x),
    }


def _call(module: Callable[[Tensor], Tensor], x: Tensor) -> Call:
    @torch.inference_mode()
    def run() -> Tensor:
        return module(x)

    return run


def _channels_last(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def _frozen(
    module: nn.Module, x: Tensor, finish: Callable[[torch.jit.ScriptModule], torch.jit.ScriptModule] = torch.jit.freeze
) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, yet it is the fastest there is for small batches
        traced = torch.jit.trace(module, x)  # type: ignore[no-untyped-call]
        if finish is not torch.jit.freeze:
            traced = torch.jit.freeze(traced)
        return finish(traced)


@singledispatch
def _layer(node: Node) -> nn.Module:
    raise NotImplementedError(type(node).__name__)


@_layer.register
def _(node: Convolve) -> nn.Module:
    channels, depth, kernel, _ = node.weight.shape
    return _with_relu(nn.Conv2d(depth, channels, kernel, node.stride, node.padding), node)


@_layer.register
def _(node: Multiply) -> nn.Module:
    return nn.Sequential(nn.Flatten(), _with_relu(nn.Linear(*node.weight.shape[::-1]), node))


@_layer.register
def _(node: MaxPool) -> nn.Module:
    return nn.MaxPool2d(node.kernel, node.stride, node.padding)


@_layer.register
def _(node: AddRelu) -> nn.Module:
    return _AddRelu()


@_layer.register
def _(node: GlobalMean) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # [B, C, H, W] -> [B, C]


class _AddRelu(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return F.relu_(a + b)


def _with_relu(layer: nn.Conv2d | nn.Linear, node: Convolve | Multiply) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(node.weight))
        assert layer.bias is not None
        layer.bias.copy_(torch.from_numpy(node.bias))
    return nn.Sequential(layer, nn.ReLU(inplace=True)) if node.relu else layer
