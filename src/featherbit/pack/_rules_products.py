"""Lowering of products: linear layers and convolutions with integer weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from ..ir import MAX_EXACT, Conv2d, Linear
from ._layout import channels_last, expanded
from ._lowering import Lowering, lowers, shape_of
from ._values import Codes, Constant, Padded, Value
from ._weights import FittedWeight, NotIntegersError, fit_weight

aten = torch.ops.aten
SIGNS = range(-1, 2, 2)
_NO_PADDING = (0, 0, 0, 0)


@lowers(aten.linear.default)
def _linear(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    weight = _weight(state, node, inputs)
    codes = state.as_codes(node, inputs[0])
    if len(shape_of(codes.node)) != 1:
        raise state.refuse(node, f"its input must be [batch, features], got {list(shape_of(codes.node))} features")
    codes = state.as_flat(codes)
    fitted = _fit(state, node, weight[:, expanded(codes.order, weight.shape[1])])
    name = state.write(
        Linear(
            (codes.name,),
            state.name(node),
            state.path(node),
            in_features=weight.shape[1],
            zero_point=codes.zero_point,
            **fitted.fields(),
        )
    )
    _check_exact(state, node, name, fitted)
    return state.remember(_sum(node, name, codes, fitted, pad_value=None))


@lowers(aten.conv2d.default, aten.conv2d.padding, aten.conv1d.default, aten.conv1d.padding)
def _conv(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    weight = _weight(state, node, inputs)  # [N, C / G, kh, kw] or [N, C / G, k]
    value = inputs[0]
    border = value if isinstance(value, Padded) else Padded(state.as_codes(node, value), _NO_PADDING, 0)
    codes = state.as_image(border.codes)
    kernel = tuple(weight.shape[2:])
    stride, padding, dilation, groups = _arguments(node, kernel)
    if border.padding != _NO_PADDING and padding != _NO_PADDING and border.pad_value != 0:
        raise state.refuse(node, "its input is padded twice, with different values")
    rows = np.moveaxis(weight, 1, -1).reshape(len(weight), -1)  # [N, (ky, kx, c)]
    fitted = _fit(state, node, rows)
    total = tuple(a + b for a, b in zip(border.padding, padding, strict=True))
    name = state.write(
        Conv2d(
            (codes.name,),
            state.name(node),
            state.path(node),
            in_channels=weight.shape[1] * groups,
            kernel=_pair(kernel),
            stride=stride,
            dilation=dilation,
            padding=total,  # type: ignore[arg-type]
            pad_value=border.pad_value,
            groups=groups,
            zero_point=codes.zero_point,
            **fitted.fields(),
        )
    )
    _check_exact(state, node, name, fitted)
    pad_value = None if total == _NO_PADDING else border.pad_value
    product = _sum(node, name, codes, fitted, pad_value)
    return state.remember(replace(product, order=channels_last(shape_of(node))))


def _arguments(node: fx.Node, kernel: tuple[int, ...]) -> tuple[Any, tuple[int, int, int, int], Any, int]:
    """Return stride, padding at each side, dilation and groups of a captured convolution."""
    given: list[Any] = [*node.args[3:], *[None] * 4][:4]
    names = ("stride", "padding", "dilation", "groups")
    given = [node.kwargs.get(name) if value is None else value for name, value in zip(names, given, strict=True)]
    dims = len(kernel)
    stride, dilation = (_each(value, dims, 1) for value in (given[0], given[2]))
    if isinstance(given[1], str):
        reach = [(k - 1) * d if given[1] == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        before = [total // 2 for total in reach]
        after = [total - half for total, half in zip(reach, before, strict=True)]
    else:
        before = after = list(_each(given[1], dims, 0))
    padding = (before[0] if dims == 2 else 0, before[-1], after[0] if dims == 2 else 0, after[-1])
    return _pair(stride), padding, _pair(dilation), 1 if given[3] is None else given[3]


def _each(value: Any, dims: int, default: int) -> tuple[int, ...]:
    numbers = [default] if value is None else [value] if isinstance(value, int) else list(value)
    return tuple(numbers * dims if len(numbers) == 1 else numbers)


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    return (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _weight(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> NDArray[np.float32]:
    bias = node.args[2] if len(node.args) > 2 else node.kwargs.get("bias")
    if bias is not None:
        kind = "QuantLinear" if node.target is aten.linear.default else "QuantConv2d"
        reason = f"its bias is added inside the product, in an order that is not defined; use {kind}"
        raise state.refuse(node, reason)
    weight = inputs[1] if len(inputs) > 1 else inputs[0]
    if not isinstance(weight, Constant):
        raise state.refuse(node, "its weight is computed from the input")
    numbers: NDArray[np.float32] = weight.tensor.float().numpy()
    if not np.array_equal(numbers, weight.tensor.numpy(), equal_nan=True):
        raise state.refuse(node, "its weights are float64 numbers that float32 does not hold")
    return numbers


def _fit(state: Lowering, node: fx.Node, rows: NDArray[np.float32]) -> FittedWeight:
    try:
        return fit_weight(rows)
    except NotIntegersError as error:
        kind = "QuantLinear" if node.target is aten.linear.default else "QuantConv2d"
        raise state.refuse(node, f"{error}; use {kind} with a weight_quantizer") from error


def _check_exact(state: Lowering, node: fx.Node, name: str, fitted: FittedWeight) -> None:
    """Refuse a product in float32 whose sums may be rounded, in an order that is not defined."""
    bound = state.types[name].bound
    if bound > MAX_EXACT and node.meta["val"].dtype != torch.float64:
        kind = "QuantLinear" if node.target is aten.linear.default else "QuantConv2d"
        reason = (
            f"a sum of {fitted.integers.shape[1]} products can reach {bound}, past 2^24, and is not exact in float32"
        )
        raise state.refuse(node, f"{reason}; use {kind} with a weight_quantizer, which sums in float64 there")


def _sum(node: fx.Node, name: str, codes: Codes, fitted: FittedWeight, pad_value: int | None) -> Codes:
    """Return what a product stands for, with every sum that can occur, or a superset."""
    low, high = codes.least, codes.greatest
    signs = codes.codes == SIGNS
    if pad_value is not None:
        low, high = min(low, pad_value), max(high, pad_value)
    positive = fitted.integers.clip(min=0).sum(axis=1)  # [N]
    negative = fitted.integers.clip(max=0).sum(axis=1)
    least = int((low * positive + high * negative).min())
    greatest = int((high * positive + low * negative).max())
    step = 1
    if signs and pad_value != 0 and fitted.encoding == "sign":
        step, k = 2, fitted.integers.shape[1]  # a sum of K odd numbers has the parity of K
        least += (least - k) % 2
    return Codes(name, node, range(least, greatest + 1, step), codes.scale * fitted.scale, is_sum=True)
