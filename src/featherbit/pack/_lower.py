"""Lower a captured model, operator by operator, to the ops of a packed graph.

Each operator has a rule in `RULES`; a rule takes abstract values (`_values.py`) and returns one, writing ops on the
way. An operator without a rule is refused with its layer: nothing is left in float silently.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from .. import quantizers as quantizers  # registers the operators of torch.ops.featherbit
from ..bits import pack_sign
from ..errors import GraphError, PackError
from ..ir import Affine, Flatten, Graph, Input, Linear, Op, PackSign, QuantizeLinear, Threshold, ValueType
from ._affine import NotAffineError, find_scaling
from ._capture import Capture, evaluate
from ._threshold import NotMonotonicError, find_thresholds
from ._values import Codes, Constant, Derived, RealInput, Value, describe

aten = torch.ops.aten
featherbit_ops = torch.ops.featherbit
SIGNS = np.array([-1, 1], dtype=np.int64)
Rule = Callable[["Lowering", fx.Node, tuple[Value, ...]], Value]
RULES: dict[object, Rule] = {}
"""The rule of each captured operator."""


def lowers(*operators: object) -> Callable[[Rule], Rule]:
    """Register the rule that lowers some operators."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, rule))
        return rule

    return register


@dataclass
class Lowering:
    """A model being lowered, and in the end the graph and what its values stand for.

    Args:
        captured: the model.
    """

    captured: Capture
    ops: list[Op] = field(default_factory=list)
    types: dict[str, ValueType] = field(default_factory=dict)
    codes: dict[str, Codes] = field(default_factory=dict)
    """For each value of the graph but the output, the captured node it equals, and how."""

    def name(self, node: fx.Node) -> str:
        """Return the value name of a node."""
        return self.captured.names[node]

    def path(self, node: fx.Node) -> str:
        """Return the layer path of a node."""
        return self.captured.paths.get(node, "")

    def refuse(self, node: fx.Node, reason: str) -> PackError:
        """Return the error that names the layer of a node."""
        return PackError(self.path(node) or self.name(node), reason)

    def write(self, op: Op) -> None:
        """Append an op, checking its inputs' types.

        Raises:
            GraphError: it cannot read them.
        """
        self.types[op.output] = op.infer(*(self.types[name] for name in op.inputs))
        self.ops.append(op)

    def remember(self, codes: Codes) -> Codes:
        """Keep what a value stands for, and return it."""
        self.codes[codes.name] = codes
        return codes

    def evaluate_at(self, derived: Derived, reals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the captured operators from a value's reals to a derived node."""
        given = {derived.source.node: torch.from_numpy(reals)}
        result: NDArray[np.float32] = evaluate(self.captured, given, [derived.node])[derived.node].numpy()
        return result

    def as_codes(self, node: fx.Node, value: Value) -> Codes:
        """Return a value as codes that a product or a reshape can read.

        Pixels mapped to a grid become codes here.
        """
        if isinstance(value, Codes) and not value.is_sum:
            return value
        if isinstance(value, Derived) and not value.source.is_sum:
            return self._on_grid(node, value)
        raise self.refuse(
            node, f"its input must be quantized, but it is {describe(value)}; put a quantizer (Sign) before it"
        )

    def _table(self, node: fx.Node, value: Derived) -> NDArray[np.float64]:
        """Return the real number of each code, the same at every place of the tensor."""
        shape = tuple(value.source.node.meta["val"].shape[1:])
        reals = np.broadcast_to(value.source.reals().reshape(-1, *[1] * len(shape)), (len(value.source.codes), *shape))
        try:
            table = self.evaluate_at(value, np.array(reals)).reshape(len(reals), -1)  # [R, places]
        except RuntimeError as error:
            raise self.refuse(
                node, f"what maps its input to numbers cannot be evaluated code by code: {error}"
            ) from error
        if not (table == table[:, :1]).all():
            raise self.refuse(node, "its input is mapped to numbers differently from place to place; one map is needed")
        return table[:, 0].astype(np.float64)

    def _on_grid(self, node: fx.Node, value: Derived) -> Codes:
        """Recognize `scale * (code - zero_point)` by evaluating the operators on every code."""
        source = value.source
        table = self._table(node, value)  # [R]
        scale = (table[-1] - table[0]) / (source.codes[-1] - source.codes[0])
        zero_point = round(float(source.codes[0] - table[0] / scale)) if scale else 0
        exact = scale > 0 and math.frexp(scale)[0] == 0.5 and np.array_equal(scale * (source.codes - zero_point), table)
        if not exact:
            raise self.refuse(
                node,
                "its input is not a power of two times (code - zero point), so float sums would not be exact; "
                "map pixels with FixedPointInput",
            )
        return Codes(source.name, value.node, source.codes, float(scale), zero_point)


def lower(captured: Capture, example: torch.Tensor) -> tuple[Graph, Lowering]:
    """Lower a captured model.

    Args:
        captured: the model.
        example: a batch of inputs; its dtype (uint8 or float32) and shape become the graph's input.

    Raises:
        PackError: with the layer and the reason.
    """
    state = Lowering(captured)
    values: dict[fx.Node, Value] = {node: Constant(tensor) for node, tensor in captured.constants.items()}
    values[captured.input] = _input(state, example)
    for node in captured.nodes:
        values[node] = _lower_node(state, node, values)
    output = _output(state, values[captured.output])
    try:
        return Graph(tuple(state.ops), output), state
    except GraphError as error:
        raise PackError("", str(error)) from error


def _input(state: Lowering, example: torch.Tensor) -> Value:
    node = state.captured.input
    name, shape = state.name(node), tuple(example.shape[1:])
    if example.dtype == torch.uint8:
        state.write(Input((), name, shape=shape, dtype="uint8"))
        return Codes(name, node, np.arange(256), 1.0)
    if example.dtype == torch.float32:
        state.write(Input((), name, shape=shape, dtype="float32"))
        return RealInput(name)
    raise PackError("", f"its input must be uint8 or float32, got {example.dtype}")


def _lower_node(state: Lowering, node: fx.Node, values: dict[fx.Node, Value]) -> Value:
    inputs = tuple(values[argument] for argument in node.all_input_nodes)
    if inputs and all(isinstance(value, Constant) for value in inputs):
        return Constant(evaluate(state.captured, {}, [node])[node])
    rule = RULES.get(node.target)
    if rule is None:
        raise state.refuse(node, f"there is no packed form of {node.target}")
    try:
        return rule(state, node, inputs)
    except GraphError as error:
        raise state.refuse(node, str(error)) from error


def _output(state: Lowering, value: Value) -> str:
    node = state.captured.output
    if isinstance(value, Codes) and (not value.is_sum):
        return value.name
    source = value if isinstance(value, Codes) else value.source if isinstance(value, Derived) else None
    if source is None or not source.is_sum:
        raise state.refuse(node, f"the model must end in a product or a sign, but it ends in {describe(value)}")
    linear = next(op for op in state.ops if op.output == source.name)
    assert isinstance(linear, Linear)
    name = state.name(node) if node is not source.node else f"{source.name}:scaled"
    try:
        scaling = find_scaling(state.captured, source, node, linear.out_features)
    except NotAffineError as error:
        raise state.refuse(node, f"{error}; end the model in a batch norm, a bias or the product itself") from error
    state.write(
        Affine(
            (source.name,),
            name,
            state.path(node),
            multiplier=scaling.multiplier,
            addend=scaling.addend,
            fused=scaling.fused,
        ),
    )
    return name


@lowers(aten._assert_tensor_metadata.default)
def _nothing(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    return None


@lowers(aten.dropout.default, aten.detach_.default, aten.detach.default, aten.alias.default)
def _identity(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    return inputs[0]


@lowers(
    aten.to.dtype,
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.neg.default,
    aten.batch_norm.default,
    aten.hardtanh.default,
    aten.clamp.default,
    aten.relu.default,
)
def _elementwise(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    varying = [value for value in inputs if not isinstance(value, Constant)]
    if len(varying) != 1 or not isinstance(varying[0], Codes | Derived):
        raise state.refuse(node, f"{node.target} joins {len(varying)} computed values; only constants can be folded")
    value = varying[0]
    _check_places(state, node, inputs)
    return Derived(value if isinstance(value, Codes) else value.source, node)


def _check_places(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> None:
    """Refuse what is not a function of each place of one input of any batch size."""
    source = next(n for n, value in zip(node.all_input_nodes, inputs, strict=True) if not isinstance(value, Constant))
    shape = source.meta["val"].shape
    constants = [value.tensor for value in inputs if isinstance(value, Constant)]
    by_batch = any(tensor.ndim == len(shape) and tensor.shape[0] != 1 for tensor in constants)
    if node.meta["val"].shape != shape or by_batch:
        raise state.refuse(
            node, f"{node.target} with a constant that has a batch dimension of its own cannot be packed"
        )
    if node.target is aten.batch_norm.default and node.args[3] is None:
        raise state.refuse(node, "its batch norm has no running statistics; use track_running_stats=True")


@lowers(aten.flatten.using_ints, aten.view.default, aten.reshape.default)
def _flatten(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    before, after = (tuple(n.meta["val"].shape) for n in (node.all_input_nodes[0], node))
    if after != (before[0], math.prod(before[1:])):
        raise state.refuse(node, f"only a flattening to [batch, features] can be packed, not {before} to {after}")
    value = inputs[0]
    if isinstance(value, RealInput):
        state.write(Flatten((value.name,), state.name(node), state.path(node)))
        return RealInput(state.name(node))
    codes = state.as_codes(node, value)
    if len(before) == 2:
        return codes
    state.write(Flatten((codes.name,), state.name(node), state.path(node)))
    return state.remember(Codes(state.name(node), node, codes.codes, codes.scale, codes.zero_point))


@lowers(featherbit_ops.linear_quant.default)
def _linear_quant(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    value, bits = inputs[0], node.args[1]
    assert isinstance(bits, int)
    if not isinstance(value, RealInput):
        raise state.refuse(node, f"LinearQuant can be packed for the input only, not for {describe(value)}")
    if bits != 8:
        raise state.refuse(node, f"an input of {bits} bits cannot be packed; use LinearQuant(8)")
    name, half = state.name(node), 2 ** (bits - 1)
    state.write(QuantizeLinear((value.name,), name, state.path(node), bits=bits))
    return state.remember(Codes(name, node, np.arange(2**bits), 1.0 / half, half))


@lowers(aten.linear.default)
def _linear(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    if len(node.args) > 2 and node.args[2] is not None:
        raise state.refuse(
            node, "its bias is added inside the product, in an order that is not defined; use QuantLinear"
        )
    weight = inputs[1]
    if not isinstance(weight, Constant):
        raise state.refuse(node, "its weight is computed from the input")
    if not bool((weight.tensor.abs() == 1).all()):
        raise state.refuse(node, "its weights are not all -1 or +1; use QuantLinear with weight_quantizer=Sign()")
    codes = state.as_codes(node, inputs[0])
    in_features = weight.tensor.shape[1]
    name = state.name(node)
    state.write(
        Linear(
            (codes.name,),
            name,
            state.path(node),
            weight=pack_sign(weight.tensor.numpy()),
            in_features=in_features,
            zero_point=codes.zero_point,
        ),
    )
    return state.remember(Codes(name, node, _sums(codes, in_features), codes.scale, is_sum=True))


def _sums(codes: Codes, in_features: int) -> NDArray[np.int64]:
    """Return every sum that can occur, or a superset."""
    centered = codes.codes - codes.zero_point
    largest = int(np.abs(centered).max()) * in_features
    step = 2 if np.array_equal(centered, SIGNS) else 1  # a sum of K signs has the parity of K
    return np.arange(-largest, largest + 1, step, dtype=np.int64)


@lowers(featherbit_ops.sign.default)
def _sign(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    value, name, path = inputs[0], state.name(node), state.path(node)
    if isinstance(value, RealInput):
        state.write(PackSign((value.name,), name, path))
        return state.remember(Codes(name, node, SIGNS, 1.0))
    if isinstance(value, Codes) and not value.is_sum and value.zero_point == 0 and np.array_equal(value.codes, SIGNS):
        return value  # the sign of a sign
    if isinstance(value, Codes):
        value = Derived(value, value.node)
    if not isinstance(value, Derived) or not value.source.is_sum:
        raise state.refuse(
            node, f"the sign of {describe(value)} has no packed form; take it of a product or of the input"
        )
    source, derived = value.source, value
    linear = next(op for op in state.ops if op.output == source.name)
    assert isinstance(linear, Linear)

    def bits(sums: NDArray[np.int64]) -> NDArray[np.bool_]:
        positive: NDArray[np.bool_] = state.evaluate_at(derived, (sums * source.scale).astype(np.float32)) >= 0
        return positive

    try:
        thresholds, flips = find_thresholds(bits, source.codes, linear.out_features)
    except NotMonotonicError as error:
        raise state.refuse(
            node, f"what stands between the product and the sign cannot be a threshold: {error}"
        ) from error
    packed_flips = pack_sign(np.where(flips, 1, -1))
    state.write(Threshold((source.name,), name, path, thresholds=thresholds, flips=packed_flips))
    return state.remember(Codes(name, node, SIGNS, 1.0))
