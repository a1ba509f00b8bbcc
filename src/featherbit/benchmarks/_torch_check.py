"""A packed graph executed op by op in torch float32, as the trained network computes: what ours is checked against.

Every sum of products is an integer below 2^24, so torch adds it exactly in any order; every other op rounds once, as
the packed network does. So equal means equal to the last bit. Not timed: it is written for being right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .. import bits, ir
from ..errors import FeatherbitError

Values = Mapping[str, Tensor]


@torch.inference_mode()
def torch_float32(graph: ir.Graph, x: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return what the graph computes for a batch, by torch.

    Args:
        graph: without fused `Affine`, which torch rounds twice.
        x: as the graph's input, with the batch in front.

    Returns:
        float32 `[B, *output]`; codes and signs as their numbers.
    """
    values = {graph.input.output: _tensor(x)}
    for op in graph.ops[1:]:
        values[op.output] = _compute(op, *(values[name] for name in op.inputs))
    return values[graph.output].numpy()


def check_equal(ours: Callable[[NDArray[np.generic]], object], graph: ir.Graph, x: NDArray[np.generic]) -> None:
    """Check that ours computes what torch float32 does, to the bit.

    Args:
        ours: runs the graph on a batch.
        graph: the packed network.
        x: the batch.

    Raises:
        FeatherbitError: they differ.
    """
    expected = torch_float32(graph, x)
    if not np.array_equal(np.asarray(ours(x)), expected):
        raise FeatherbitError(f"the packed network differs from torch float32 on {len(x)} images")


@singledispatch
def _compute(op: ir.Op, *inputs: Tensor) -> Tensor:
    raise NotImplementedError(op.label)


@_compute.register
def _(op: ir.ChannelsLast, x: Tensor) -> Tensor:
    return x.movedim(1, -1)  # [B, C, H, W] -> [B, H, W, C]


@_compute.register
def _(op: ir.Flatten, x: Tensor) -> Tensor:
    return x.flatten(1)


@_compute.register
def _(op: ir.Linear, x: Tensor) -> Tensor:
    weight = _tensor(op.integer_weight())
    return F.linear(x - op.zero_point, weight)


@_compute.register
def _(op: ir.Conv2d, x: Tensor) -> Tensor:
    rows = _tensor(op.integer_weight())  # [N, kh * kw * C]
    weight = rows.reshape(len(rows), *op.kernel, -1).permute(0, 3, 1, 2)  # [N, C, kh, kw]
    centered = _pad((x - op.zero_point).permute(0, 3, 1, 2), op.padding, op.pad_value)  # [B, C, H, W]
    out = F.conv2d(centered, weight, stride=op.stride, dilation=op.dilation, groups=op.groups)
    return out.permute(0, 2, 3, 1)  # [B, H, W, N]


@_compute.register
def _(op: ir.MaxPool2d, x: Tensor) -> Tensor:
    padded = _pad(x.permute(0, 3, 1, 2), op.padding, -torch.inf)
    return F.max_pool2d(padded, op.kernel, op.stride, dilation=op.dilation).permute(0, 2, 3, 1)


@_compute.register
def _(op: ir.SumPool2d, x: Tensor) -> Tensor:
    padded = _pad((x - op.zero_point).permute(0, 3, 1, 2), op.padding, 0.0)
    return F.avg_pool2d(padded, op.kernel, op.stride, divisor_override=1).permute(0, 2, 3, 1)


@_compute.register
def _(op: ir.Threshold, x: Tensor) -> Tensor:
    reached = (x >= _tensor(op.thresholds)) ^ _flips(op.flips, len(op.thresholds))
    return reached.to(torch.float32) * 2 - 1


@_compute.register
def _(op: ir.MultiThreshold, x: Tensor) -> Tensor:
    flips = _flips(op.flips, len(op.thresholds))
    code = torch.zeros_like(x)
    for thresholds in _tensor(op.thresholds).T:
        code += (x >= thresholds) ^ flips
    return code


@_compute.register
def _(op: ir.PackSign, x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0)


@_compute.register
def _(op: ir.QuantizeLinear, x: Tensor) -> Tensor:
    return torch.clamp(torch.round(x / op.step), op.low, op.low + 2**op.bits - 1) - op.low


@_compute.register
def _(op: ir.ToReal, x: Tensor) -> Tensor:
    return (x - op.zero_point) * op.scale


@_compute.register
def _(op: ir.Affine, x: Tensor) -> Tensor:
    return x * _tensor(op.multiplier) + _tensor(op.addend)


@_compute.register
def _(op: ir.AddReal, a: Tensor, b: Tensor) -> Tensor:
    return a + b


@_compute.register
def _(op: ir.PRelu, x: Tensor) -> Tensor:
    return torch.where(x > 0, x, x * _tensor(op.slope))


def _pad(x: Tensor, padding: tuple[int, int, int, int], value: float) -> Tensor:
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def _tensor(array: NDArray[np.generic]) -> Tensor:
    return torch.tensor(array, dtype=torch.float32)  # exact: integers are thresholds or below 2^24


def _flips(words: NDArray[np.uint64], channels: int) -> Tensor:
    return torch.from_numpy(bits.unpack_sign(words, channels) > 0)
