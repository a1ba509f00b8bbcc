"""`Lowering`: a model being lowered, its graph so far, and what each value of the graph stands for.

Rules (`_rules_*.py`) call it to write ops, to bring values into the layout or the form they need, and to run captured
operators on candidate codes. Each of these writes an op at most once, however many readers there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from ..errors import PackError
from ..ir import ChannelsLast, Flatten, Op, Rearrange, ToReal, ValueType
from ._capture import Capture, evaluate
from ._layout import channels_last, expanded, image_shape, inverted, normal, same
from ._values import Codes, Constant, Derived, Order, Padded, Real, Rows, Tokens, Value, describe

Rule = Callable[["Lowering", fx.Node, tuple[Value, ...]], Value]
RULES: dict[object, Rule] = {}
"""The rule of each captured operator; its values are those of `node.all_input_nodes`."""
RealRule = Callable[["Lowering", fx.Node, Codes | Real], Real]
REAL_RULES: dict[object, RealRule] = {}
"""For operators that can be computed in float32: what writes the op, given the one computed input."""

_Graphed = TypeVar("_Graphed", bound=Codes | Real)


def lowers(*operators: object) -> Callable[[Rule], Rule]:
    """Register the rule that lowers some operators."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, rule))
        return rule

    return register


def lowers_reals(*operators: object) -> Callable[[RealRule], RealRule]:
    """Register the rule that computes some operators in float32."""

    def register(rule: RealRule) -> RealRule:
        REAL_RULES.update(dict.fromkeys(operators, rule))
        return rule

    return register


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a captured tensor, without the batch."""
    return tuple(node.meta["val"].shape[1:])


@dataclass
class Lowering:
    """A model being lowered, and in the end the graph and what its values stand for.

    Args:
        captured: the model.
    """

    captured: Capture
    ops: list[Op] = field(default_factory=list)
    types: dict[str, ValueType] = field(default_factory=dict)
    meaning: dict[str, Codes | Real] = field(default_factory=dict)
    """For each value of the graph, the captured node it equals, and how."""
    values: dict[fx.Node, Value] = field(default_factory=dict)
    """What each captured node lowered so far is."""
    _reals: dict[fx.Node, Real] = field(default_factory=dict)
    _written: dict[Any, str] = field(default_factory=dict)

    def path(self, node: fx.Node) -> str:
        """Return the layer path of a node."""
        return self.captured.paths.get(node, "")

    def name(self, node: fx.Node, suffix: str = "") -> str:
        """Return a name for a value made from a node that no other value has."""
        name = self.captured.names[node] + (f":{suffix}" if suffix else "")
        return self._free(name)

    def refuse(self, node: fx.Node, reason: str) -> PackError:
        """Return the error that names the layer of a node."""
        return PackError(self.path(node) or self.captured.names[node], reason)

    def write(self, op: Op) -> str:
        """Append an op and return its value's name.

        Raises:
            GraphError: it cannot read its inputs.
        """
        self.types[op.output] = op.infer(*(self.types[name] for name in op.inputs))
        self.ops.append(op)
        return op.output

    def remember(self, value: _Graphed) -> _Graphed:
        """Keep what a value of the graph stands for, and return it."""
        self.meaning[value.name] = value
        return value

    def constants(self) -> dict[fx.Node, Tensor]:
        """Return every tensor that does not depend on the input."""
        return {node: value.tensor for node, value in self.values.items() if isinstance(value, Constant)}

    # Running the captured operators

    def channels(self, derived: Derived) -> int:
        """Return how many functions a derived value is: of channels, or of places."""
        shape = shape_of(derived.source.node)
        return math.prod(shape) if derived.by_place else shape[0]

    def evaluate(self, derived: Derived, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Compute a derived value of candidate codes.

        Args:
            derived: the value.
            codes: `[R, N]`, N as `channels` says; the places of the graph's value in its own order.

        Returns:
            float32 `[R, N]`.
        """
        if len(codes) == 1:  # torch does not see the gaps in the memory of a single row
            return self.evaluate(derived, np.repeat(codes, 2, axis=0))[:1]
        source, shape = derived.source, shape_of(derived.source.node)
        reals = source.reals(codes)
        if derived.by_place:
            given = np.empty_like(reals)
            given[:, expanded(source.order, reals.shape[1])] = reals
            given = given.reshape(len(reals), *shape)
        else:
            given = reals.reshape(len(reals), shape[0], *[1] * (len(shape) - 1))  # [R, C, 1, 1]
        values = {**self.constants(), source.node: torch.from_numpy(given)}
        result = evaluate(self.captured, values, [derived.node], derived.skip)[derived.node].numpy()
        flat: NDArray[np.float32] = result.reshape(len(reals), -1)
        return flat[:, expanded(derived.order, flat.shape[1])] if derived.by_place else flat

    # Bringing values into a form

    def as_codes(self, node: fx.Node, value: Value) -> Codes:
        """Return a value as codes that a product can read.

        Pixels mapped to a grid become codes here.
        """
        if isinstance(value, Codes) and not value.is_sum:
            return value
        if isinstance(value, Derived) and not value.source.is_sum and not value.pools:
            return self._on_grid(node, value)
        what = describe(value)
        raise self.refuse(node, f"its input must be quantized, but it is {what}; put a quantizer (Sign) before it")

    def _on_grid(self, node: fx.Node, value: Derived) -> Codes:
        """Recognize `scale * (code - zero_point)` by evaluating the operators on every code."""
        source = value.source
        codes = np.array(source.codes)
        candidates = np.repeat(codes[:, None], self.channels(value), axis=1)  # [R, N]
        try:
            table = self.evaluate(value, candidates).astype(np.float64)
        except RuntimeError as error:
            reason = f"what maps its input to numbers cannot be evaluated code by code: {error}"
            raise self.refuse(node, reason) from error
        if not (table == table[:, :1]).all():
            raise self.refuse(node, "its input is mapped to numbers differently from place to place; one map is needed")
        reals = table[:, 0]
        scale = (reals[-1] - reals[0]) / (codes[-1] - codes[0])
        zero_point = round(float(codes[0] - reals[0] / scale)) if scale else 0
        if not (scale > 0 and math.frexp(scale)[0] == 0.5 and np.array_equal(scale * (codes - zero_point), reals)):
            advice = "map pixels with FixedPointInput"
            if source.name != self.ops[0].output:
                advice = "give the quantizer to the layer as input_quantizer, so that it multiplies codes"
            reason = "its input is not a power of two times (code - zero point), so float sums would not be exact"
            raise self.refuse(node, f"{reason}; {advice}")
        return replace(source, node=value.node, scale=float(scale), zero_point=zero_point, order=value.order)

    def as_real(self, value: Value, node: fx.Node) -> Real:
        """Return a value as float32, computing it operator by operator.

        Args:
            value: integers, a function of them, or float32.
            node: who asks, for messages.
        """
        if isinstance(value, Real):
            return value
        if isinstance(value, Codes):
            return self._to_real(value)
        if isinstance(value, Derived):
            if value.node not in self._reals:
                self._reals[value.node] = self._real_of(value.node)
            return self._reals[value.node]
        raise self.refuse(node, f"{describe(value)} cannot be computed with here")

    def _to_real(self, codes: Codes) -> Real:
        if codes.divisor != 1:
            reason = f"an average over {codes.divisor} places is rounded; put a quantizer right after the pooling"
            raise self.refuse(codes.node, reason)
        name = self._once(
            (codes.name, "real", codes.scale, codes.zero_point),
            lambda: ToReal(
                (codes.name,),
                self._free(f"{codes.name}:real"),
                self.path(codes.node),
                scale=codes.scale,
                zero_point=codes.zero_point,
            ),
        )
        return self.remember(Real(name, codes.node, codes.order))

    def _real_of(self, node: fx.Node) -> Real:
        rule = REAL_RULES.get(node.target)
        inputs = [self.values[argument] for argument in node.all_input_nodes]
        varying = [value for value in inputs if not isinstance(value, Constant)]
        if rule is None or len(varying) != 1:
            raise self.refuse(node, f"{node.target} cannot be computed on real numbers here; put a quantizer before it")
        (value,) = varying
        return rule(self, node, value if isinstance(value, Codes) else self.as_real(value, node))

    # Bringing values into a layout

    def as_image(self, value: _Graphed) -> _Graphed:
        """Return a captured `[C, H, W]` or `[C, L]` as a channels-last image of the graph."""
        shape = shape_of(value.node)
        if len(shape) not in (2, 3):
            raise self.refuse(value.node, f"an image [C, H, W] or a signal [C, L] is needed, got {list(shape)}")
        return self._arranged(value, image_shape(shape), channels_last(shape))

    def as_flat(self, value: _Graphed) -> _Graphed:
        """Return a value as one dimension of the graph, in the order it has."""
        return self._arranged(value, (self.types[value.name].size,), value.order)

    def as_torch(self, value: _Graphed) -> _Graphed:
        """Return a value in the shape and order of the captured tensor."""
        return self._arranged(value, shape_of(value.node), None)

    def as_ordered(self, value: _Graphed, order: Order) -> _Graphed:
        """Return a flat value in another order."""
        return self._arranged(value, (self.types[value.name].size,), order)

    def _arranged(self, value: _Graphed, shape: tuple[int, ...], order: Order) -> _Graphed:
        now = self.types[value.name]
        if now.shape == shape and same(value.order, order):
            return value
        key = (value.name, shape, None if order is None else order.tobytes(), expanded(value.order, now.size).tobytes())
        name = self._once(key, lambda: self._move(value, shape, order))
        return self.remember(replace(value, name=name, order=order))

    def _move(self, value: Codes | Real, shape: tuple[int, ...], order: Order) -> Op:
        now, path = self.types[value.name], self.path(value.node)
        if len(shape) == 1 and same(value.order, order):
            return Flatten((value.name,), self._free(f"{value.name}:flat"), path)
        wanted = inverted(expanded(value.order, now.size))[expanded(order, now.size)]
        is_image = 2 <= len(now.shape) <= 3 and shape == image_shape(now.shape)
        if is_image and same(normal(wanted), channels_last(now.shape)):
            return ChannelsLast((value.name,), self._free(f"{value.name}:image"), path)
        return self.rearrange(value.node, value.name, self._free(f"{value.name}:moved"), shape, wanted)

    def rearrange(
        self, node: fx.Node, source: str, output: str, shape: tuple[int, ...], order: NDArray[np.int64]
    ) -> Rearrange:
        """Return the op that takes elements of a value.

        It takes them from where they were before, if the value was rearranged already.
        """
        before = next(op for op in self.ops if op.output == source)
        if isinstance(before, Rearrange):
            source, order = before.inputs[0], before.order[order].astype(np.int64)
        return Rearrange((source,), output, self.path(node), shape=shape, order=order.astype(np.int32))

    def _once(self, key: Any, make: Callable[[], Op]) -> str:
        if key not in self._written:
            self._written[key] = self.write(make())
        return self._written[key]

    def _free(self, name: str) -> str:
        while name in self.types:
            name += "_"
        return name


def is_varying(value: Value) -> bool:
    """Whether a value depends on the input."""
    return isinstance(value, Codes | Derived | Real | Padded | Rows | Tokens)
