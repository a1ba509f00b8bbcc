"""What a captured tensor means to the packer: the abstract values that lowering passes from operator to operator.

Each value of the graph has an `order`: its element `i` is element `order[i]` of the captured tensor, both flat and
without the batch; None where they are in the same order. So channels-last images, reshapes and permutations need no
op until somebody needs another layout, and are compared with the model like any value.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, fx

Order = NDArray[np.int64] | None


@dataclass(frozen=True)
class Constant:
    """A tensor that does not depend on the input.

    Parameters, buffers, and what is computed from them alone.
    """

    tensor: Tensor


@dataclass(frozen=True, eq=False)
class Real:
    """A float32 value of the graph.

    Args:
        name: the value in the packed graph.
        node: the captured node that it equals.
        order: where its elements are in the captured tensor.
        is_input: the caller's array, as it came.
        highest: where the captured numbers are greater, the value is this.
    """

    name: str
    node: fx.Node
    order: Order = None
    is_input: bool = False
    highest: float = math.inf


@dataclass(frozen=True, eq=False)
class Codes:
    """An integer value of the graph that stands for real numbers.

    Exactly: `real = scale * (code - zero_point)`, divided by `divisor` in float32.

    Args:
        name: the value in the packed graph: signs (codes -1 and +1, zero_point 0), unsigned codes, or int32.
        node: the captured node that holds the real numbers.
        codes: every code that can occur, or a superset.
        scale: a power of two.
        zero_point: the code of zero.
        is_sum: an int32 sum; else signs or unsigned codes, which a product can read.
        divisor: what an average divides its sum by, where that is no power of two.
        order: where its elements are in the captured tensor.
        start: the captured tensor is not the model's, but computed from the model's value of this node ...
        skip: ... where these nodes take the value of another: what the packed network does before a pooling, the model
            does after it.
    """

    name: str
    node: fx.Node
    codes: range
    scale: float
    zero_point: int = 0
    is_sum: bool = False
    divisor: int = 1
    order: Order = None
    start: fx.Node | None = None
    skip: Mapping[fx.Node, fx.Node] = field(default_factory=dict)

    def reals(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Return the real number of each code, float32 of the same shape."""
        reals: NDArray[np.float32] = ((codes.astype(np.int64) - self.zero_point) * self.scale).astype(np.float32)
        return reals if self.divisor == 1 else reals / np.float32(self.divisor)

    @property
    def least(self) -> int:
        """The least code, less the zero point."""
        return self.codes[0] - self.zero_point

    @property
    def greatest(self) -> int:
        """The greatest code, less the zero point."""
        return self.codes[-1] - self.zero_point


@dataclass(frozen=True, eq=False)
class Derived:
    """A function of the codes of one value, element by element.

    Args:
        source: the value.
        node: the captured node that holds the function's values.
        order: where the elements of `source`, after the poolings, are in the captured tensor.
        pools: the max poolings between, in order; the packed network does them last.
        moves: the reshapes between.
        by_place: the function differs from place to place, not only from channel to channel.
    """

    source: Codes
    node: fx.Node
    order: Order = None
    pools: tuple[fx.Node, ...] = ()
    moves: frozenset[fx.Node] = frozenset()
    by_place: bool = False

    @property
    def skip(self) -> dict[fx.Node, fx.Node]:
        """The nodes that do not change the function of one channel.

        Each comes with the node before it.
        """
        skipped = () if self.by_place else (*self.moves, *self.pools)
        return {node: origin(node) for node in skipped}


@dataclass(frozen=True, eq=False)
class Rows:
    """A function of a token: a row of a table, and what was made of it.

    Args:
        source: the value of the tokens in the packed graph.
        embedding: the captured node that takes the row.
        table: float `[tokens, E]`.
        node: the captured node that holds the function's values.
    """

    source: str
    embedding: fx.Node
    table: Tensor
    node: fx.Node


@dataclass(frozen=True, eq=False)
class Tokens:
    """The caller's tokens, each the number of a row.

    Args:
        name: the value in the packed graph.
    """

    name: str


@dataclass(frozen=True, eq=False)
class Padded:
    """Codes with a border around them, for the convolution that comes next.

    Args:
        codes: without the border.
        padding: places at the top, left, bottom and right.
        pad_value: what stands there, less the zero point.
    """

    codes: Codes
    padding: tuple[int, int, int, int]
    pad_value: int


Value = Constant | Real | Codes | Derived | Padded | Rows | Tokens | None


def origin(node: fx.Node) -> fx.Node:
    """Return the tensor that a node takes elements of.

    Parts of a split come from what was split.
    """
    before = node.all_input_nodes[0]
    return before.all_input_nodes[0] if node.target is operator.getitem else before


def describe(value: Value) -> str:
    """Return what a value is, in words for a message."""
    if isinstance(value, Real):
        return "the float input before any quantizer" if value.is_input else "real numbers"
    if isinstance(value, Codes):
        return "an integer sum" if value.is_sum else "quantized codes"
    names: dict[type, str] = {
        Constant: "a constant",
        Derived: "real numbers computed from integers",
        Padded: "padded codes",
        Rows: "rows of an embedding before any quantizer",
        Tokens: "tokens",
    }
    return names.get(type(value), "nothing that can be packed")
