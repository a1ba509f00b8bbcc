"""What a captured tensor means to the packer: the abstract values that lowering passes from operator to operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, fx


@dataclass(frozen=True)
class Constant:
    """A tensor that does not depend on the input.

    Parameters, buffers, and what is computed from them alone.
    """

    tensor: Tensor


@dataclass(frozen=True)
class RealInput:
    """The caller's float32 input, not yet quantized."""

    name: str


@dataclass(frozen=True)
class Codes:
    """An integer value of the graph that stands for real numbers.

    Exactly: `real = scale * (code - zero_point)`.

    Args:
        name: the value in the packed graph: signs (codes -1 and +1, zero_point 0), unsigned codes, or int32.
        node: the captured node that holds the real numbers.
        codes: every code that can occur, int64 `[R]`, ascending.
        scale: a power of two.
        zero_point: the code of zero.
        is_sum: an int32 sum; else signs or unsigned codes, which a product can read.
    """

    name: str
    node: fx.Node
    codes: NDArray[np.int64]
    scale: float
    zero_point: int = 0
    is_sum: bool = False

    def reals(self) -> NDArray[np.float32]:
        """Return the real number of each code, float32 `[R]`."""
        reals: NDArray[np.float32] = ((self.codes - self.zero_point) * self.scale).astype(np.float32)
        return reals


@dataclass(frozen=True)
class Derived:
    """A function of the codes of one value, by element and channel."""

    source: Codes
    node: fx.Node


Value = Constant | RealInput | Codes | Derived | None


def describe(value: Value) -> dict[str, Any] | str:
    """Return what a value is, in words for a message."""
    names: dict[type, str] = {
        Constant: "a constant",
        RealInput: "the float input before any quantizer",
        Codes: "quantized codes",
        Derived: "real numbers computed from integers",
    }
    return names.get(type(value), "nothing that can be packed")
