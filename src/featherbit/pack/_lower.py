"""Lower a captured model, operator by operator, to the ops of a packed graph.

Each operator has a rule in `RULES`; a rule takes abstract values (`_values.py`) and returns one, writing ops on the
way. An operator without a rule is refused with its layer: nothing is left in float silently.
"""

from __future__ import annotations

import torch
from torch import fx

from ..errors import GraphError, PackError
from ..ir import Graph, Input, Op
from . import _rules_elementwise as _rules_elementwise
from . import _rules_moves as _rules_moves
from . import _rules_pools as _rules_pools
from . import _rules_products as _rules_products
from . import _rules_quantizers as _rules_quantizers
from . import _rules_reals as _rules_reals
from ._capture import Capture, evaluate
from ._lowering import RULES, Lowering
from ._values import Codes, Constant, Derived, Real, Value, describe


def lower(captured: Capture, example: torch.Tensor) -> tuple[Graph, Lowering]:
    """Lower a captured model.

    Args:
        captured: the model.
        example: a batch of inputs; its dtype (uint8 or float32) and shape become the graph's input.

    Raises:
        PackError: with the layer and the reason.
    """
    state = Lowering(captured)
    state.values.update({node: Constant(tensor) for node, tensor in captured.constants.items()})
    state.values[captured.input] = _input(state, example)
    for node in captured.nodes:
        state.values[node] = _lower_node(state, node)
    try:
        output = _output(state, state.values[captured.output])
        return Graph(_used(state.ops, output), output), state
    except GraphError as error:
        raise PackError("", str(error)) from error


def _input(state: Lowering, example: torch.Tensor) -> Value:
    node = state.captured.input
    name, shape = state.name(node), tuple(example.shape[1:])
    if example.dtype == torch.uint8:
        state.write(Input((), name, shape=shape, dtype="uint8"))
        return state.remember(Codes(name, node, range(256), 1.0))
    if example.dtype == torch.float32:
        state.write(Input((), name, shape=shape, dtype="float32"))
        return state.remember(Real(name, node, is_input=True))
    raise PackError("", f"its input must be uint8 or float32, got {example.dtype}")


def _lower_node(state: Lowering, node: fx.Node) -> Value:
    inputs = tuple(state.values[argument] for argument in node.all_input_nodes)
    if all(isinstance(value, Constant) for value in inputs):
        return Constant(evaluate(state.captured, state.constants(), [node])[node])
    rule = RULES.get(node.target)
    if rule is None:
        raise state.refuse(node, f"there is no packed form of {node.target}")
    try:
        return rule(state, node, inputs)
    except GraphError as error:
        raise state.refuse(node, str(error)) from error


def _output(state: Lowering, value: Value) -> str:
    node = state.captured.output
    if not isinstance(value, Codes | Derived | Real):
        raise state.refuse(node, f"the model must end in numbers, but it ends in {describe(value)}")
    first = state.ops[0].output
    if not isinstance(value, Derived) and value.name == first:
        raise state.refuse(node, "the model returns its input: there is nothing to pack")
    if isinstance(value, Derived) or not state.types[value.name].is_sign:
        value = state.as_real(value, node)
    return state.as_torch(value).name


def _used(ops: list[Op], output: str) -> tuple[Op, ...]:
    """Return the ops that the output needs."""
    needed, kept = {output}, []
    for op in reversed(ops):
        if op.output in needed or isinstance(op, Input):
            needed.update(op.inputs)
            kept.append(op)
    return tuple(reversed(kept))
