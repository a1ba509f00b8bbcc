"""Lower a captured model, operator by operator, to the ops of a packed graph.

Each operator has a rule in `RULES`; a rule takes abstract values (`_values.py`) and returns one, writing ops on the
way. An operator without a rule is refused with its layer: nothing is left in float silently.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import fx

from ..errors import GraphError, PackError
from ..ir import Graph, Input, Op, State
from . import _rules_elementwise as _rules_elementwise
from . import _rules_embeddings as _rules_embeddings
from . import _rules_moves as _rules_moves
from . import _rules_pools as _rules_pools
from . import _rules_products as _rules_products
from . import _rules_quantizers as _rules_quantizers
from . import _rules_reals as _rules_reals
from ._capture import Capture, evaluate
from ._lowering import RULES, Lowering, shape_of
from ._values import Codes, Constant, Derived, Padded, Real, Tokens, Value, describe

aten = torch.ops.aten
_READ_FLOAT64 = {
    aten.to.dtype,
    aten.to.dtype_layout,
    aten._assert_tensor_metadata.default,
    aten.linear.default,
    aten.conv1d.default,
    aten.conv1d.padding,
    aten.conv2d.default,
    aten.conv2d.padding,
}


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
    for node, after in captured.states:
        name = state.write(State((), state.name(node), shape=shape_of(node), next=captured.names[after]))
        state.values[node] = state.remember(Real(name, node, is_input=True))
    for node in captured.nodes:
        state.values[node] = _lower_node(state, node)
    try:
        output = _output(state, state.values[captured.output])
        _take_over(state)
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
    if example.dtype == torch.int32:
        state.write(Input((), name, shape=shape, dtype="int32"))
        return Tokens(name)
    raise PackError("", f"its input must be uint8, float32 or, of a model with a memory, tokens, got {example.dtype}")


def _lower_node(state: Lowering, node: fx.Node) -> Value:
    inputs = tuple(state.values[argument] for argument in node.all_input_nodes)
    if all(isinstance(value, Constant) for value in inputs):
        return Constant(evaluate(state.captured, state.constants(), [node])[node])
    if node.target not in _READ_FLOAT64:
        for argument in node.all_input_nodes:
            _refuse_float64(state, argument)
    rule = RULES.get(node.target)
    if rule is None:
        raise state.refuse(node, f"there is no packed form of {node.target}")
    try:
        return rule(state, node, inputs)
    except GraphError as error:
        raise state.refuse(node, str(error)) from error


def _refuse_float64(state: Lowering, node: fx.Node) -> None:
    """Refuse to read integers as float64: those of a product are rounded to float32 before anything else reads them."""
    if isinstance(state.values[node], Codes | Padded) and getattr(node.meta["val"], "dtype", None) == torch.float64:
        raise state.refuse(node, "it is float64 and read by more than a product; convert it to float32 first")


def _output(state: Lowering, value: Value) -> str:
    node = state.captured.output
    _refuse_float64(state, node)
    if not isinstance(value, Codes | Derived | Real):
        raise state.refuse(node, f"the model must end in numbers, but it ends in {describe(value)}")
    first = state.ops[0].output
    if not isinstance(value, Derived) and value.name == first:
        raise state.refuse(node, "the model returns its input: there is nothing to pack")
    if isinstance(value, Derived) or not state.types[value.name].is_sign:
        value = state.as_real(value, node)
    return state.as_torch(value).name


def _take_over(state: Lowering) -> None:
    """Say of each state which value it becomes, now that all are there."""
    for before, after in state.captured.states:
        value = state.values[after]
        _refuse_float64(state, after)
        if not isinstance(value, Codes | Derived | Real):
            raise state.refuse(after, f"a state must become numbers, but it becomes {describe(value)}")
        name = state.as_torch(state.as_real(value, after)).name
        own = state.captured.names[before]
        state.ops = [replace(op, next=name) if isinstance(op, State) and op.output == own else op for op in state.ops]


def _used(ops: list[Op], output: str) -> tuple[Op, ...]:
    """Return the ops that the output and the next step need."""
    needed, kept = {output, *(op.next for op in ops if isinstance(op, State))}, []
    for op in reversed(ops):
        if op.output in needed or isinstance(op, Input):
            needed.update(op.inputs)
            kept.append(op)
    return tuple(reversed(kept))
