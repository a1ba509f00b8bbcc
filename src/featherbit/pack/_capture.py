"""Capture a model with `torch.export`: a flat list of named operations, whatever its forward looks like.

Quantizers appear in it as operators of their own (`featherbit::sign`), which a trace of plain torch would dissolve into
comparisons. The captured operators are kept as they are: thresholds are found by running these very operators again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import PackError
from ._step import Step, state_sizes

CAPTURED_BATCH = 2
"""Inputs in the batch that is captured; one alone would be captured as a case of its own."""

_FUNCTIONAL: dict[object, Any] = {
    torch.ops.aten.add_.Tensor: torch.ops.aten.add.Tensor,
    torch.ops.aten.sub_.Tensor: torch.ops.aten.sub.Tensor,
    torch.ops.aten.mul_.Tensor: torch.ops.aten.mul.Tensor,
    torch.ops.aten.div_.Tensor: torch.ops.aten.div.Tensor,
    torch.ops.aten.neg_.default: torch.ops.aten.neg.default,
    torch.ops.aten.relu_.default: torch.ops.aten.relu.default,
    torch.ops.aten.relu6_.default: torch.ops.aten.relu6.default,
    torch.ops.aten.hardtanh_.default: torch.ops.aten.hardtanh.default,
    torch.ops.aten.leaky_relu_.default: torch.ops.aten.leaky_relu.default,
    torch.ops.aten.clamp_.default: torch.ops.aten.clamp.default,
    torch.ops.aten.dropout_.default: torch.ops.aten.dropout.default,
}
"""For each operator that writes into its argument, the one that does not."""

_STEP = f"{Step.__module__}.{Step.__qualname__}"
_SHAPED = (torch.ops.aten.view.default, torch.ops.aten.reshape.default)


@dataclass(frozen=True)
class Capture:
    """A model in evaluation mode as a flat graph.

    Args:
        nodes: the operators, in order.
        input: the placeholder that takes the caller's array.
        output: the node whose value the model returns.
        constants: the tensor of every parameter and buffer placeholder.
        names: the value name of every operator and of the input, unique.
        paths: the layer path of every operator.
        states: of a model with a memory: the placeholder of each part of its state, and the node of what it becomes.
    """

    nodes: tuple[fx.Node, ...]
    input: fx.Node
    output: fx.Node
    constants: Mapping[fx.Node, Tensor]
    names: Mapping[fx.Node, str]
    paths: Mapping[fx.Node, str]
    states: tuple[tuple[fx.Node, fx.Node], ...] = ()


def capture(model: nn.Module, example: Tensor) -> Capture:
    """Capture a model on the CPU, in float32 and in evaluation mode.

    The model itself is not changed.

    Args:
        model: any module that `torch.export` takes, with one tensor in and one out, or with a memory (`_step.py`).
        example: a batch of inputs, `[B, *shape]`; of a model with a memory, those of one step.

    Raises:
        PackError: the model cannot be captured, or has more than one input or output.
    """
    sizes = state_sizes(model)
    model = copy.deepcopy(model).cpu().eval()
    batch = example[:1].repeat(CAPTURED_BATCH, *[1] * (example.ndim - 1)).cpu()  # [2, *shape]
    zeros = tuple(torch.zeros(CAPTURED_BATCH, size) for size in sizes or ())
    try:
        with torch.no_grad():
            program = torch.export.export(model if sizes is None else Step(model), (batch, *zeros))
    except Exception as error:  # torch.export raises errors of many kinds, all about the user's forward
        raise PackError("", f"torch.export cannot capture its forward: {error}") from error
    signature = program.graph_signature
    state = {**program.state_dict, **program.constants}
    targets = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    constants = {node: state[targets[node.name]].detach() for node in placeholders if node.name in targets}
    inputs = [node for node in placeholders if node not in constants]
    outputs: Any = next(node.args[0] for node in program.graph.nodes if node.op == "output")
    expected = 1 + len(zeros)
    if {len(inputs), len(outputs)} != {expected} or not all(isinstance(node, fx.Node) for node in outputs):
        what = "one tensor" if sizes is None else f"one tensor and {len(zeros)} of its state"
        reason = f"it must take {what} and return as many, it takes {len(inputs)} and returns {len(outputs)}"
        raise PackError("", reason)
    _replace_mutation(program.graph)
    nodes = tuple(node for node in program.graph.nodes if node.op == "call_function")
    paths = {node: _layer_path(node) for node in nodes}
    states = tuple(zip(inputs[1:], outputs[1:], strict=True))
    return Capture(nodes, inputs[0], outputs[0], constants, _names(nodes, inputs, paths), paths, states)


def run(captured: Capture, x: Tensor, wanted: Sequence[fx.Node], state: Sequence[Tensor] = ()) -> dict[fx.Node, Tensor]:
    """Run a captured model and return the values of the wanted nodes.

    Args:
        captured: the model.
        x: a batch, `[B, *shape]`.
        wanted: nodes.
        state: each part of the state, `[B, size]`, of a model with a memory.
    """
    given = {captured.input: x, **dict(zip((node for node, _ in captured.states), state, strict=True))}
    values = evaluate(captured, given, wanted)
    return {node: values[node] for node in wanted}


def evaluate(
    captured: Capture,
    given: Mapping[fx.Node, Tensor],
    wanted: Sequence[fx.Node],
    skip: Mapping[fx.Node, fx.Node] = MappingProxyType({}),
) -> dict[fx.Node, Tensor]:
    """Compute the wanted nodes from given ones by the captured operators.

    Args:
        captured: the model.
        given: values of some nodes; they are not computed.
        wanted: nodes to compute.
        skip: nodes that are not computed, but take the value of another.
    """
    values: dict[fx.Node, Tensor] = {**captured.constants, **given}
    needed = _needed(wanted, set(values), skip)
    with torch.no_grad():
        for node in captured.nodes:
            if node in needed and node not in values:
                values[node] = values[skip[node]] if node in skip else _call(node, values)
    return values


def _call(node: fx.Node, values: Mapping[fx.Node, Tensor]) -> Tensor:
    args: Any = fx.map_arg(node.args, lambda argument: values[argument])
    kwargs = fx.map_arg(node.kwargs, lambda argument: values[argument])
    if node.target in _SHAPED and args[1][0] == CAPTURED_BATCH:  # it stands for any
        args = (args[0], [args[0].shape[0], *args[1][1:]])
    if node.target is torch.ops.aten.batch_norm.default:
        args = (as_captured(node, args[0]), *args[1:])
    result: Tensor = node.target(*args, **kwargs)  # type: ignore[operator]
    return result


def as_captured(node: fx.Node, x: Tensor) -> Tensor:
    """Return the input of a batch norm with the captured one's gaps in memory.

    torch then rounds otherwise: the product and the sum each by itself, where it else rounds once.
    """
    captured = node.all_input_nodes[0].meta["val"]
    if captured.is_contiguous() or (captured.ndim == 4 and captured.is_contiguous(memory_format=torch.channels_last)):
        return x
    return torch.stack([x, x], dim=-1)[..., 0]  # [*shape, 2] -> [*shape]


def _replace_mutation(graph: fx.Graph) -> None:
    """Let operators that write into their first argument return a new tensor instead, which all later nodes read."""
    place = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        functional = _FUNCTIONAL.get(node.target)
        if functional is not None:
            for user in list(node.args[0].users):
                if place[user] > place[node]:
                    user.replace_input_with(node.args[0], node)
            node.target = functional


def _needed(wanted: Sequence[fx.Node], given: set[fx.Node], skip: Mapping[fx.Node, fx.Node]) -> set[fx.Node]:
    needed: set[fx.Node] = set()
    waiting = list(wanted)
    while waiting:
        node = waiting.pop()
        if node not in needed and node not in given:
            needed.add(node)
            waiting.extend([skip[node]] if node in skip else node.all_input_nodes)
    return needed


def _layer_path(node: fx.Node) -> str:
    stack: Mapping[str, Any] = node.meta.get("nn_module_stack") or {}
    path: str = next(reversed([path for path, _ in stack.values()]), "") if stack else ""
    if any(kind == _STEP for _, kind in stack.values()):
        path = path.removeprefix("model").removeprefix(".")
    return path


def _names(nodes: Sequence[fx.Node], inputs: Sequence[fx.Node], paths: Mapping[fx.Node, str]) -> dict[fx.Node, str]:
    """Name each layer's last operator by the layer's path, any other by path and operator."""
    last = {paths[node]: node for node in nodes}
    names = {node: f"state{i - 1}" if i else "input" for i, node in enumerate(inputs)}
    taken = set(names.values())
    for node in nodes:
        path = paths[node]
        name = path if path and last[path] is node else f"{path}:{node.name}" if path else node.name
        while name in taken:
            name += "_"
        names[node] = name
        taken.add(name)
    return names
