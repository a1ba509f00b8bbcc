"""Lowering of operators that compute each element by itself: what they derive from a sum, or from real numbers.

A function of one integer value stays a function (`Derived`) until a quantizer folds it into thresholds. Two computed
values can be added: in integers where their scales are powers of two, else in float32, as torch does.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from .. import layers as layers  # registers the operators of torch.ops.featherbit
from ..errors import FileErrorCode, GraphError
from ..ir import Add, AddReal, MulReal
from ._layout import same
from ._lowering import REAL_RULES, Lowering, is_varying, lowers, shape_of
from ._values import Codes, Constant, Derived, Padded, Real, Rows, Value, describe

aten = torch.ops.aten
_PER_CHANNEL = (aten.batch_norm.default, aten.prelu.default)
"""Operators whose constants `[C]` belong to the channels, whatever follows."""


@lowers(aten._assert_tensor_metadata.default)
def _nothing(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    return None


@lowers(
    aten.dropout.default,
    aten.feature_dropout.default,
    aten.detach_.default,
    aten.detach.default,
    aten.alias.default,
    aten.contiguous.default,
    aten.clone.default,
)
def _identity(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    return inputs[0]


@lowers(aten.to.dtype, aten.to.dtype_layout)
def _to(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    value, dtype = inputs[0], node.meta["val"].dtype
    if dtype == torch.float64 and not isinstance(value, Padded):
        return _to_float64(state, node, value)
    if dtype not in (torch.float32, torch.float64):
        raise state.refuse(node, f"it converts to {dtype}; a packed network computes in float32")
    return state.remember(replace(value, node=node)) if isinstance(value, Codes) else value


def _to_float64(state: Lowering, node: fx.Node, value: Value) -> Value:
    """Return codes for a product whose sums may pass 2^24; nothing else is float64."""
    if isinstance(value, Codes | Derived) and not (value if isinstance(value, Codes) else value.source).is_sum:
        codes = state.as_codes(node, value)
        return state.remember(replace(codes, node=node))
    what = describe(value)
    reason = f"it converts {what} to float64, which only codes may be, for a product whose sums can pass 2^24"
    raise state.refuse(node, f"{reason}; put a quantizer before the product, or stay in float32")


@lowers(
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.rsub.Scalar,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.neg.default,
    aten.batch_norm.default,
    aten.hardtanh.default,
    aten.clamp.default,
    aten.clamp_min.default,
    aten.clamp_max.default,
    aten.relu.default,
    aten.relu6.default,
    aten.prelu.default,
    aten.leaky_relu.default,
    torch.ops.featherbit.look_up.default,
)
def _elementwise(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    varying = [value for value in inputs if not isinstance(value, Constant)]
    if len(varying) == 1 and isinstance(varying[0], Rows):
        return replace(varying[0], node=node)
    if not varying or not all(isinstance(value, Codes | Derived | Real) for value in varying):
        raise state.refuse(node, f"{node.target} of {describe(varying[0] if varying else None)} cannot be packed")
    by_place = _check_places(state, node, inputs)
    if len(varying) == 1 and isinstance(varying[0], Real):
        return _on_real(state, node, varying[0])
    joined = _one_function(varying)
    if joined is None:
        return _join(state, node, varying)
    if isinstance(varying[0], Codes) and len(varying) == 1 and (factor := _power_of_two(node)) is not None:
        return state.remember(replace(varying[0], node=node, scale=varying[0].scale * factor))
    vector = node.target in _PER_CHANNEL or any(v.tensor.numel() > 1 for v in inputs if isinstance(v, Constant))
    by_place = by_place or joined.by_place or (vector and bool(joined.moves))
    if by_place and joined.pools:
        raise state.refuse(node, "after a max pooling it differs from place to place; put the quantizer before it")
    return replace(joined, node=node, by_place=by_place)


def _check_places(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> bool:
    """Refuse what is not a function of each place of any batch size; tell whether places of a channel differ."""
    sources = [n for n, value in zip(node.all_input_nodes, inputs, strict=True) if is_varying(value)]
    shape = node.meta["val"].shape
    tensors = [value.tensor for value in inputs if isinstance(value, Constant)]
    if any(source.meta["val"].shape != shape for source in sources):
        raise state.refuse(node, f"{node.target} repeats its input along a dimension, which cannot be packed")
    if any(tensor.ndim == len(shape) and tensor.shape[0] != 1 for tensor in tensors):
        reason = f"{node.target} with a constant that has a batch dimension of its own cannot be packed"
        raise state.refuse(node, reason)
    if node.target is aten.batch_norm.default and (node.args[3] is None or node.args[5]):
        raise state.refuse(node, "its batch norm has no running statistics; use track_running_stats=True")
    if node.target in _PER_CHANNEL:
        return False
    # Aligned to the right, only the dimension of the channels, the one after the batch, may be more than 1.
    return any(size > 1 for tensor in tensors for size in tuple(tensor.shape)[2 - len(shape) :] if len(shape) > 2)


def _one_function(varying: list[Any]) -> Derived | None:
    """Return what several values are a function of, if it is one and the same."""
    if not all(isinstance(value, Codes | Derived) for value in varying):
        return None
    functions = [Derived(value, value.node, value.order) if isinstance(value, Codes) else value for value in varying]
    first = functions[0]
    for other in functions[1:]:
        alike = other.source.name == first.source.name and other.source.node is first.source.node
        if not (alike and other.pools == first.pools and other.moves == first.moves and same(other.order, first.order)):
            return None
    return replace(first, by_place=any(function.by_place for function in functions))


def _power_of_two(node: fx.Node) -> float | None:
    """Return the power of two by which a node multiplies its input, if it does."""
    if node.target not in (aten.mul.Tensor, aten.div.Tensor) or not isinstance(node.args[1], int | float):
        return None
    number = float(node.args[1])
    if not math.isfinite(number) or math.frexp(number)[0] != 0.5 or not 2.0**-60 <= number <= 2.0**60:
        return None
    return number if node.target is aten.mul.Tensor else 1 / number


def _on_real(state: Lowering, node: fx.Node, value: Real) -> Real:
    rule = REAL_RULES.get(node.target)
    if rule is None:
        raise state.refuse(node, f"{node.target} cannot be computed on real numbers here; put a quantizer before it")
    return rule(state, node, value)


def _join(state: Lowering, node: fx.Node, varying: list[Any]) -> Value:
    if node.target not in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor) or len(varying) != 2:
        reason = f"{node.target} joins {len(varying)} computed values; only sums and products of two can be packed"
        raise state.refuse(node, reason)
    if node.target is aten.mul.Tensor:
        first, second = _aligned(state, *(state.as_real(value, node) for value in varying))
        op = MulReal((first.name, second.name), state.name(node), state.path(node))
        return state.remember(Real(state.write(op), node, first.order))
    alpha = node.kwargs.get("alpha", 1)
    if alpha != 1:
        raise state.refuse(node, f"it adds with a factor of {alpha}; multiply before adding")
    sign = 1 if node.target is aten.add.Tensor else -1
    a, b = (state.values[argument] for argument in node.args[:2])  # type: ignore[index]
    reason = _why_real((a, b))
    if not reason:
        assert isinstance(a, Codes)
        assert isinstance(b, Codes)
        try:
            return _add_integers(state, node, a, b, sign)
        except GraphError as error:
            if error.code != FileErrorCode.INEXACT_SUM:
                raise
            reason = str(error)
    return _add_reals(state, node, a, b, sign, reason)


def _why_real(values: tuple[Value, ...]) -> str:
    """Return why two values cannot be added in integers; empty where they can."""
    for value in values:
        if isinstance(value, Codes) and value.divisor == 1:
            continue
        if isinstance(value, Codes):
            return f"an average over {value.divisor} places is no integer"
        if isinstance(value, Derived):
            last = str(value.node.target).split(".")[1]
            return f"{last} makes real numbers of the sum {value.source.name}"
        return "one of its inputs is float32"
    return ""


def _add_integers(state: Lowering, node: fx.Node, a: Codes, b: Codes, sign: int) -> Codes:
    a, b = _aligned(state, a, b)
    scale = min(a.scale, b.scale)
    a_multiplier, b_multiplier = round(a.scale / scale), sign * round(b.scale / scale)
    op = Add(
        (a.name, b.name),
        state.name(node),
        state.path(node),
        a_multiplier=a_multiplier,
        b_multiplier=b_multiplier,
        a_zero_point=a.zero_point,
        b_zero_point=b.zero_point,
    )
    ends = sorted(b_multiplier * end for end in (b.least, b.greatest))
    low, high = a_multiplier * a.least + ends[0], a_multiplier * a.greatest + ends[1]
    step = math.gcd(a_multiplier * a.codes.step, b_multiplier * b.codes.step)
    name = state.write(op)
    return state.remember(Codes(name, node, range(low, high + 1, step), scale, is_sum=True, order=a.order))


def _add_reals(state: Lowering, node: fx.Node, a: Value, b: Value, sign: int, reason: str) -> Real:
    if sign < 0:
        raise state.refuse(node, f"it subtracts a computed value in float32 ({reason}); negate it and add")
    first, second = _aligned(state, state.as_real(a, node), state.as_real(b, node))
    op = AddReal((first.name, second.name), state.name(node), state.path(node), reason=reason)
    return state.remember(Real(state.write(op), node, first.order))


def _aligned(state: Lowering, a: Any, b: Any) -> tuple[Any, Any]:
    """Bring two values into one layout."""
    a_type, b_type = state.types[a.name], state.types[b.name]
    if a_type.shape == b_type.shape and same(a.order, b.order):
        return a, b
    if len(shape_of(a.node)) in (2, 3):
        return state.as_image(a), state.as_image(b)
    a, b = state.as_flat(a), state.as_flat(b)
    return a, state.as_ordered(b, a.order)
