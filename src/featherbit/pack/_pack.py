"""`pack`: a trained model to a packed graph."""

from __future__ import annotations

from typing import Any, Literal

from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import GraphError, PackError
from ..ir import Graph
from ..runtime import Session
from ._capture import capture
from ._lower import lower
from ._step import state_sizes
from ._verify import as_tensor, compare


def pack(model: nn.Module, example: Tensor | NDArray[Any], *, verify: bool | Literal["reference"] = True) -> Graph:
    """Pack a trained model into a graph that equals it to the bit.

    The model is captured in evaluation mode, in float32 on the CPU, and is not changed.

    A model with a memory has `step(x, state)`, which takes one input of each sequence and, for each of its
    `state_sizes`, a tensor `[B, size]`, and returns the output and the next state: `step` is what is packed.

    Args:
        model: any module whose forward `torch.export` captures, made of layers that have a packed form.
        example: inputs `[B, *shape]`, B >= 1, uint8 or float32; real ones, since they are what `verify` compares on.
            Of a model with a memory, sequences: `[T, B, *shape]`, or tokens `[T, B]`.
        verify: run the packed graph on `example` and compare every layer with the model; `"reference"` runs it in the
            reference interpreter, and does not ask whether the native runtime can run it.

    Returns:
        The packed graph; `ir.save` writes it to a file.

    Raises:
        PackError: a layer has no packed form, or differs from the model; with the layer's path and the reason.
    """
    inputs = as_tensor(model, example)
    batch = inputs if state_sizes(model) is None else inputs[0]
    if batch.ndim < 2 or len(batch) == 0:
        raise PackError("", f"the example must be a batch of at least one input, got shape {tuple(batch.shape)}")
    graph, lowering = lower(capture(model, batch), batch)
    if verify != "reference":
        try:
            Session(graph)
        except GraphError as error:
            raise PackError("", str(error)) from error
    if verify:
        for row in compare(lowering, graph, inputs, reference=verify == "reference"):
            if row.mismatches:
                raise PackError(
                    row.path or row.value, f"{row.mismatches} of {row.compared} values differ from the model"
                )
    return graph
