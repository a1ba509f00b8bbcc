"""Lowering of pooling: of codes and sums directly, and of functions of a sum after the quantizer that ends them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from ..ir import MaxPool2d, SumPool2d
from ._layout import channels_last
from ._lowering import Lowering, lowers, lowers_reals, shape_of
from ._values import Codes, Derived, Real, Value, describe

aten = torch.ops.aten
_MAX_POOLS = (aten.max_pool2d.default, aten.max_pool1d.default)


@lowers(*_MAX_POOLS)
def _max_pool(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    value = inputs[0]
    movable = isinstance(value, Derived) and not (value.by_place or value.moves)
    if isinstance(value, Derived) and movable and value.source.is_sum and len(shape_of(value.source.node)) > 1:
        window(state, node)  # refuses what cannot be packed
        order = channels_last(shape_of(node))
        return replace(value, node=node, pools=(*value.pools, node), order=order)
    if isinstance(value, Derived):
        value = state.as_real(value, node)
    if not isinstance(value, Codes | Real):
        raise state.refuse(node, f"the greatest of {describe(value)} cannot be packed")
    pooled: Value = write_max_pool(state, node, value, state.name(node))
    return pooled


@lowers_reals(*_MAX_POOLS)
def _max_pool_real(state: Lowering, node: fx.Node, value: Codes | Real) -> Real:
    pooled: Real = write_max_pool(state, node, state.as_real(value, node), state.name(node))
    return pooled


def write_max_pool(state: Lowering, node: fx.Node, value: Any, name: str) -> Any:
    """Write the max pooling of a node over a value; return what it stands for."""
    value = state.as_image(value)
    state.write(MaxPool2d((value.name,), name, state.path(node), **window(state, node)))
    return state.remember(replace(value, name=name, node=node, order=channels_last(shape_of(node)), **_own(value)))


def _own(value: Any) -> dict[str, Any]:
    return {"is_input": False} if isinstance(value, Real) else {}


def window(state: Lowering, node: fx.Node) -> dict[str, Any]:
    """Return the window of a captured max pooling.

    Raises:
        PackError: it rounds the size of its output up.
    """
    kernel, stride, padding, dilation, ceil_mode = [*node.args[1:], *[None] * 5][:5]
    if ceil_mode or node.kwargs.get("ceil_mode"):
        raise state.refuse(node, "ceil_mode=True cannot be packed; use ceil_mode=False and padding")
    kernel = _pair(kernel, 1)
    top, left = _pair(padding, 0)
    stride = _pair(stride, 1) if stride else kernel
    return {"kernel": kernel, "stride": stride, "padding": (top, left, top, left), "dilation": _pair(dilation, 1)}


def _pair(value: Any, default: int) -> tuple[int, int]:
    numbers = [value] * 2 if isinstance(value, int) else list(value or [default] * 2)
    return (default, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


@lowers(aten.avg_pool2d.default, aten.avg_pool1d.default)
def _avg_pool(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    given: list[Any] = [*node.args[1:], *[None] * 6]
    kernel, stride, padding, ceil_mode, include_pad, divisor = given[:6]
    include_pad = node.kwargs.get("count_include_pad", include_pad)
    kernel = _pair(kernel, 1)
    top, left = _pair(padding, 0)
    if ceil_mode or node.kwargs.get("ceil_mode"):
        raise state.refuse(node, "ceil_mode=True cannot be packed; use ceil_mode=False and padding")
    if include_pad is False and top + left:
        raise state.refuse(node, "count_include_pad=False divides by another number at the border; use True")
    divisor = node.kwargs.get("divisor_override", divisor) or kernel[0] * kernel[1]
    stride = _pair(stride, 1) if stride else kernel
    return _sum_pool(state, node, inputs[0], kernel, divisor, stride=stride, padding=(top, left, top, left))


@lowers(aten.adaptive_avg_pool2d.default, aten.adaptive_avg_pool1d.default)
def _adaptive_avg_pool(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    sizes = shape_of(node.all_input_nodes[0])[1:]
    if any(size != 1 for size in shape_of(node)[1:]):
        raise state.refuse(node, "only adaptive average pooling to one place can be packed; use AvgPool2d")
    return _sum_pool(state, node, inputs[0], _pair(list(sizes), 1), math.prod(sizes))


@lowers(aten.mean.dim)
def _mean(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    sizes = shape_of(node.all_input_nodes[0])
    given: Any = node.args[1]
    dims = {dim % (len(sizes) + 1) for dim in given}
    if len(sizes) not in (2, 3) or dims != set(range(2, len(sizes) + 1)):
        raise state.refuse(node, f"a mean over dimensions {given} cannot be packed; only over height and width")
    return _sum_pool(state, node, inputs[0], _pair(list(sizes[1:]), 1), math.prod(sizes[1:]))


def _sum_pool(
    state: Lowering, node: fx.Node, value: Value, kernel: tuple[int, int], divisor: int, **fields: Any
) -> Codes:
    if not isinstance(value, Codes):
        if not (isinstance(value, Derived) and not value.source.is_sum):
            what = describe(value)
            raise state.refuse(node, f"an average of {what} depends on the order of summation; quantize before it")
        value = state.as_codes(node, value)
    if value.divisor != 1:
        raise state.refuse(node, "an average of averages is rounded twice; quantize between them")
    codes = state.as_image(value)
    name = state.write(
        SumPool2d(
            (codes.name,), state.name(node), state.path(node), kernel=kernel, zero_point=codes.zero_point, **fields
        )
    )
    taps = kernel[0] * kernel[1]
    ends = (min(codes.least * taps, 0), max(codes.greatest * taps, 0))  # places in the padding count 0
    power = math.frexp(divisor)[0] == 0.5
    return state.remember(
        Codes(
            name,
            node,
            range(ends[0], ends[1] + 1),
            codes.scale / divisor if power else codes.scale,
            is_sum=True,
            divisor=1 if power else divisor,
            order=channels_last(shape_of(node)),
        )
    )
