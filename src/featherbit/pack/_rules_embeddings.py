"""Lowering of embeddings: a token's row, until a quantizer makes codes of all of them."""

from __future__ import annotations

import torch
from torch import fx

from ._lowering import Lowering, lowers
from ._values import Constant, Rows, Tokens, Value, describe

aten = torch.ops.aten


@lowers(aten.embedding.default)
def _embedding(state: Lowering, node: fx.Node, inputs: tuple[Value, ...]) -> Value:
    table, tokens = inputs
    if not isinstance(tokens, Tokens) or not isinstance(table, Constant):
        what = describe(tokens if isinstance(table, Constant) else table)
        raise state.refuse(node, f"an embedding takes the caller's tokens and a fixed table, but there is {what}")
    return Rows(tokens.name, node, table.tensor, node)
