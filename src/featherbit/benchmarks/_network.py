"""A random network of -1 and +1, in the form of each contestant.

Batch norm is drawn so that every contestant can be exact: scales are -1 or +1, thresholds lie half-way between two
integers, the last layer scales by a power of two. Then all of its float32 arithmetic is exact, in any order and fused
or not, and ours must equal torch float32 to the last bit. None of this changes how long anybody takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from .. import bits, ir

ZERO_POINT = 128
LAST_SCALE = 2.0**-6
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Hidden:
    """One layer: product, then sign of a batch norm.

    Args:
        weight: float32 `[N, K]`, -1 or +1.
        threshold: int32 `[N]`: the batch norm's mean is `threshold - 1/2`.
        gain: float32 `[N]`, -1 or +1: the batch norm's scale.
    """

    weight: Floats
    threshold: NDArray[np.int32]
    gain: Floats


@dataclass(frozen=True)
class Network:
    """Hidden layers and a last one that scales by `LAST_SCALE` and adds `bias`.

    Args:
        hidden: the first takes codes 0 to 255 that mean `code - 128`.
        last: float32 `[classes, K]`, -1 or +1.
        bias: float32 `[classes]`, multiples of `LAST_SCALE`.
    """

    hidden: tuple[Hidden, ...]
    last: Floats
    bias: Floats


def random_network(in_features: int, width: int, depth: int, classes: int, seed: int) -> Network:
    """Return a network with random weights and statistics.

    Args:
        in_features: pixels of an image.
        width: of each hidden layer.
        depth: hidden layers, >= 1.
        classes: outputs.
        seed: of everything drawn.
    """
    rng = np.random.default_rng(seed)

    def signs(*shape: int) -> Floats:
        return rng.integers(0, 2, shape, dtype=np.int8).astype(np.float32) * 2 - 1

    hidden = []
    for fan_in, spread in [(in_features, 74.0)] + [(width, 1.0)] * (depth - 1):
        # A sum of `fan_in` terms of that spread has this deviation: channels are neither constant nor all alike.
        thresholds = rng.normal(0.0, spread * fan_in**0.5 / 2, width).round().astype(np.int32)
        hidden.append(Hidden(signs(width, fan_in), thresholds, signs(width)))
    bias = rng.integers(-64, 65, classes).astype(np.float32) * np.float32(LAST_SCALE)
    return Network(tuple(hidden), signs(classes, width), bias)


def to_graph(network: Network) -> ir.Graph:
    """Return the network packed, uint8 pixels to float32 scores."""
    ops: list[ir.Op] = [ir.Input((), "x", shape=(network.hidden[0].weight.shape[1],), dtype="uint8")]
    for index, layer in enumerate(network.hidden):
        ops.append(_linear(ops[-1].output, f"sum{index}", layer.weight, ZERO_POINT if index == 0 else 0))
        # gain -1: sign(mean - sum) is +1 where sum < threshold.
        flips = bits.pack_sign(-layer.gain)
        ops.append(ir.Threshold((f"sum{index}",), f"sign{index}", thresholds=layer.threshold, flips=flips))
    ops.append(_linear(ops[-1].output, "sum", network.last, 0))
    multiplier = np.full(len(network.last), LAST_SCALE, dtype=np.float32)
    ops.append(ir.Affine(("sum",), "scores", multiplier=multiplier, addend=network.bias, fused=False))
    return ir.Graph(tuple(ops), "scores")


def _linear(source: str, output: str, weight: Floats, zero_point: int) -> ir.Linear:
    words = bits.pack_sign(weight)
    return ir.Linear((source,), output, weight=words, in_features=weight.shape[1], zero_point=zero_point)


def folded(network: Network) -> tuple[tuple[Floats, Floats], ...]:
    """Return weight and bias of each layer with batch norm folded in."""
    layers = [
        (layer.weight * layer.gain[:, None], layer.gain * (np.float32(0.5) - layer.threshold.astype(np.float32)))
        for layer in network.hidden
    ]
    return (*layers, (network.last * np.float32(LAST_SCALE), network.bias))


def torch_float32(network: Network) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the network in torch float32; it takes `code - 128` as float32."""
    layers = [(torch.from_numpy(weight), torch.from_numpy(bias)) for weight, bias in folded(network)]

    @torch.inference_mode()
    def run(x: torch.Tensor) -> torch.Tensor:
        for weight, bias in layers[:-1]:
            x = F.linear(x, weight, bias).sign_()  # never 0: the bias is half an odd number
        return F.linear(x, *layers[-1])

    return run


def torch_int8(network: Network, *, by_column: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the network in torch int8; it takes `code - 128` as int8.

    Batch norm is folded into integer thresholds, so that nothing between the products is float.

    Args:
        network: which.
        by_column: whether the weights lie column-major in memory, of the two layouts `_int_mm` takes.
    """
    weights = [_int8(weight * sign, by_column) for weight, sign in _weights_and_signs(network)]
    biases = [torch.from_numpy((bias - np.float32(0.5)).astype(np.int32)) for _, bias in folded(network)[:-1]]
    last_bias = torch.from_numpy(network.bias)

    @torch.inference_mode()
    def run(x: torch.Tensor) -> torch.Tensor:
        for weight, bias in zip(weights[:-1], biases, strict=True):
            # sum + bias + 1/2 > 0, in integers: sum + bias >= 0.
            x = torch._int_mm(x, weight).add_(bias).ge(0).to(torch.int8).mul_(2).sub_(1)
        return torch._int_mm(x, weights[-1]).to(torch.float32).mul_(LAST_SCALE).add_(last_bias)

    return run


def _weights_and_signs(network: Network) -> list[tuple[Floats, Floats]]:
    hidden = [(layer.weight, layer.gain[:, None]) for layer in network.hidden]
    return [*hidden, (network.last, np.ones((len(network.last), 1), dtype=np.float32))]


def _int8(weight: Floats, by_column: bool) -> torch.Tensor:
    transposed = torch.from_numpy(weight).to(torch.int8).t()  # [K, N]
    return transposed if by_column else transposed.contiguous()
