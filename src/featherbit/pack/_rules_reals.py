"""Writing of operators in float32, one by one, each rounded as torch rounds it.

A batch norm multiplies and adds with one rounding or two, as the torch build has it: the addend is what it gives for
zero, the multiplier what it gives for one without its shift; which rounding it is is found by comparing both with the
operator itself on a sample.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from .. import layers as layers  # registers the operators of torch.ops.featherbit
from ..ir import Affine, Clamp, LookUp, PRelu, reference
from ._capture import as_captured
from ._layout import expanded
from ._lowering import Lowering, lowers_reals, shape_of
from ._values import Codes, Real

aten = torch.ops.aten
Vector = NDArray[np.float32]
_SAMPLES = 2048


def _arranged(state: Lowering, value: Real | Codes, node: fx.Node) -> Any:
    """Return a value whose last dimension is what a constant `[C]` of the node belongs to."""
    return state.as_image(value) if len(shape_of(node)) in (2, 3) else state.as_flat(value)


def _constant(state: Lowering, node: fx.Node, which: int) -> Tensor:
    """Return an argument of a node that does not depend on the input, as a tensor."""
    argument: Any = node.args[which]
    if not isinstance(argument, fx.Node):
        return torch.tensor(float(argument))
    constants = state.constants()
    if argument not in constants:
        raise state.refuse(node, f"{node.target} joins a value with itself; only constants can be folded")
    return constants[argument]


def _affine(
    state: Lowering, node: fx.Node, value: Real | Codes, multiplier: Tensor, addend: Tensor, fused: bool = False
) -> Real:
    """Write a multiplication and an addition; the constants are shaped to be broadcast as torch does."""
    shape = shape_of(node)
    constants = [np.broadcast_to(tensor.numpy().astype(np.float32), shape) for tensor in (multiplier, addend)]
    by_place = len(shape) > 1 and not all(
        np.array_equal(array, np.broadcast_to(array[(slice(None), *[slice(0, 1)] * (len(shape) - 1))], shape), True)
        for array in constants
    )
    value = state.as_flat(value) if by_place else _arranged(state, value, node)
    channels = state.types[value.name].channels
    if by_place or len(shape) == 1:
        vectors = [array.ravel()[expanded(value.order, channels)] for array in constants]
    else:
        vectors = [array.reshape(channels, -1)[:, 0] for array in constants]
    value, scale = _foldable(state, value, vectors[0])
    name = state.write(
        Affine(
            (value.name,),
            state.name(node),
            state.path(node),
            multiplier=np.ascontiguousarray(vectors[0] * np.float32(scale)),
            addend=np.ascontiguousarray(vectors[1]),
            fused=fused,
        )
    )
    return state.remember(Real(name, node, value.order))


def _foldable(state: Lowering, value: Real | Codes, multiplier: Vector) -> tuple[Real | Codes, float]:
    """Return the value to multiply and its scale: an int32 sum itself, where its scale joins the factor exactly."""
    if isinstance(value, Real):
        return value, 1.0
    with np.errstate(over="ignore", under="ignore"):
        joined = multiplier * np.float32(value.scale)
        exact = np.array_equal(joined / np.float32(value.scale), multiplier, equal_nan=True)
    tiny = np.abs(joined[joined != 0]).min(initial=1.0) < 2.0**-100
    if state.types[value.name].element == "int32" and value.divisor == 1 and exact and not tiny:
        return value, value.scale
    return state.as_real(value, value.node), 1.0


@lowers_reals(aten.add.Tensor)
def _add(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    _refuse_alpha(state, node)
    which = 1 if node.args[0] in node.all_input_nodes and not _is_constant(state, node.args[0]) else 0
    return _affine(state, node, value, torch.ones(()), _constant(state, node, which))


@lowers_reals(aten.sub.Tensor)
def _sub(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    _refuse_alpha(state, node)
    if _is_constant(state, node.args[0]):
        return _affine(state, node, value, -torch.ones(()), _constant(state, node, 0))
    return _affine(state, node, value, torch.ones(()), -_constant(state, node, 1))


@lowers_reals(aten.rsub.Scalar)
def _rsub(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    _refuse_alpha(state, node)
    return _affine(state, node, value, -torch.ones(()), _constant(state, node, 1))


@lowers_reals(aten.mul.Tensor)
def _mul(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    which = 0 if _is_constant(state, node.args[0]) else 1
    return _affine(state, node, value, _constant(state, node, which), torch.tensor(-0.0))


@lowers_reals(aten.neg.default)
def _neg(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    return _affine(state, node, value, -torch.ones(()), torch.tensor(-0.0))


@lowers_reals(aten.div.Tensor)
def _div(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    if _is_constant(state, node.args[0]):
        raise state.refuse(node, "it divides by a computed value")
    divisor = _constant(state, node, 1)
    if not all(math.frexp(abs(number))[0] == 0.5 for number in divisor.flatten().tolist()):
        raise state.refuse(node, "real numbers are divided by a number that is no power of two; multiply instead")
    return _affine(state, node, value, 1 / divisor, torch.tensor(-0.0))


def _is_constant(state: Lowering, argument: Any) -> bool:
    return not isinstance(argument, fx.Node) or argument in state.constants()


def _refuse_alpha(state: Lowering, node: fx.Node) -> None:
    if node.kwargs.get("alpha", 1) != 1 or (node.target is aten.rsub.Scalar and node.args[2:] not in ((), (1,))):
        raise state.refuse(node, "it adds with a factor; multiply before adding")


@lowers_reals(aten.relu.default)
def _relu(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    return _clamp_to(state, node, value, 0.0, math.inf)


@lowers_reals(aten.relu6.default)
def _relu6(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    return _clamp_to(state, node, value, 0.0, 6.0)


@lowers_reals(aten.hardtanh.default)
def _hardtanh(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    given: list[Any] = [*node.args[1:], *(-1.0, 1.0)[len(node.args) - 1 :]]
    low, high = given
    return _clamp_to(state, node, value, low, high)


@lowers_reals(aten.clamp.default)
def _clamp(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    given: list[Any] = [*node.args[1:], None, None]
    low, high = given[:2]
    low = node.kwargs.get("min", low)
    high = node.kwargs.get("max", high)
    return _clamp_to(state, node, value, -math.inf if low is None else low, math.inf if high is None else high)


@lowers_reals(aten.clamp_min.default)
def _clamp_min(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    return _clamp_to(state, node, value, node.args[1], math.inf)


@lowers_reals(aten.clamp_max.default)
def _clamp_max(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    return _clamp_to(state, node, value, -math.inf, node.args[1])


def _clamp_to(state: Lowering, node: fx.Node, value: Real | Codes, low: Any, high: Any) -> Real:
    real = state.as_real(value, node)
    low, high = float(np.float32(low)), float(np.float32(high))
    name = state.write(Clamp((real.name,), state.name(node), state.path(node), low=low, high=high))
    return state.remember(Real(name, node, real.order))


@lowers_reals(aten.prelu.default)
def _prelu(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    return _write_prelu(state, node, value, _constant(state, node, 1))


@lowers_reals(aten.leaky_relu.default)
def _leaky_relu(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    return _write_prelu(state, node, value, torch.tensor(node.args[1] if len(node.args) > 1 else 0.01))


def _write_prelu(state: Lowering, node: fx.Node, value: Real | Codes, slope: Tensor) -> Real:
    real = _arranged(state, state.as_real(value, node), node)
    channels = state.types[real.name].channels
    slopes = np.broadcast_to(slope.numpy().astype(np.float32).ravel(), (channels,))
    if len(shape_of(node)) == 1:
        slopes = slopes[expanded(real.order, channels)]
    op = PRelu((real.name,), state.name(node), state.path(node), slope=np.ascontiguousarray(slopes))
    return state.remember(Real(state.write(op), node, real.order))


@lowers_reals(torch.ops.featherbit.look_up.default)
def _look_up(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    real, step = state.as_real(value, node), node.args[2]
    assert isinstance(step, float)
    entries = _constant(state, node, 1).numpy()
    op = LookUp((real.name,), state.name(node), state.path(node), step=step, table=entries)
    return state.remember(Real(state.write(op), node, real.order))


@lowers_reals(aten.batch_norm.default)
def _batch_norm(state: Lowering, node: fx.Node, value: Real | Codes) -> Real:
    channels, rank = shape_of(node)[0], len(shape_of(node))
    zero = torch.zeros(channels)
    multiplier = _norm(state, node, torch.ones(2, channels), shift=zero)[0]
    addend = _norm(state, node, torch.zeros(2, channels))[0]
    fused = _is_fused(state, node, multiplier, addend)
    spread = (channels, *[1] * (rank - 1))
    return _affine(state, node, value, multiplier.reshape(spread), addend.reshape(spread), fused)


def _norm(state: Lowering, node: fx.Node, x: Tensor, shift: Tensor | None = None) -> Tensor:
    """Run a batch norm on rows `[R, C]`; with a shift in place of its bias and its mean."""
    args: list[Any] = [state.constants().get(a) if isinstance(a, fx.Node) else a for a in node.args]
    args[0] = as_captured(node, x)
    if shift is not None:
        args[2], args[3] = shift, shift
    with torch.no_grad():
        result: Tensor = aten.batch_norm.default(*args)
    return result


def _is_fused(state: Lowering, node: fx.Node, multiplier: Tensor, addend: Tensor) -> bool:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(_SAMPLES, len(addend))) * np.exp2(rng.integers(-3, 14, size=(_SAMPLES, 1)))).astype(
        np.float32
    )
    expected = _norm(state, node, torch.from_numpy(x)).numpy()
    for fused in (True, False):
        op = Affine(("x",), "y", multiplier=multiplier.numpy(), addend=addend.numpy(), fused=fused)
        if np.array_equal(reference.RULES[Affine](op, x), expected, equal_nan=True):
            return fused
    reason = "no multiplication and addition with one rounding or two gives what torch computes"
    raise state.refuse(node, f"{reason}; if its input is a slice or a transposition, call contiguous() before it")
