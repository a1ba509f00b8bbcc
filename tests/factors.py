"""Watch every multiplication and division that torch runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
_MULTIPLY = {
    *(aten.mul.Tensor, aten.mul_.Tensor, aten.mul.Scalar, aten.mul_.Scalar),
    *(aten.div.Tensor, aten.div_.Tensor, aten.div.Scalar, aten.div_.Scalar),
}
# All that may run besides. What multiplies inside, such as lerp, addcmul or a scaled addition, is not among it.
_HARMLESS = {
    *("add", "add_", "sub", "sub_", "neg", "abs", "maximum", "sqrt", "sqrt_", "reciprocal_", "sum", "mean", "eq"),
    *("ap2", "view", "detach", "alias", "clone", "copy_", "to", "_to_copy", "fill_", "zero_", "masked_fill_"),
    *("empty_like", "zeros_like", "lift_fresh", "_local_scalar_dense"),
    *("_record_function_enter_new", "_record_function_exit"),
}


def is_shift(factor: Any) -> bool:
    """Return whether every element is zero or a power of two of either sign."""
    values = torch.as_tensor(factor, dtype=torch.float64)
    mantissa, _ = torch.frexp(values.abs())
    return bool(((mantissa == 0.5) | (values == 0)).all())


class OnlyShifts(TorchDispatchMode):
    """Fail on a multiplication of which no operand is a power of two, and on any operator that is not known.

    Args:
        counts: divisors that are let through: the number of terms of a mean.
    """

    def __init__(self, *counts: int) -> None:
        super().__init__()
        self.counts = counts
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if func in _MULTIPLY:
            self.check(name, args[0], args[1])
        else:
            assert name in _HARMLESS, f"{func} may multiply; watch it"
            assert (kwargs or {}).get("alpha", 1) == 1, f"{func} multiplies by {kwargs}"
        return func(*args, **(kwargs or {}))

    def check(self, name: str, a: Any, b: Any) -> None:
        """Fail unless one operand, or the divisor, is a power of two."""
        self.seen += 1
        if name.startswith("div"):
            assert is_shift(b) or (not isinstance(b, Tensor) and abs(b) in self.counts), f"a division by {b}"
        else:
            assert is_shift(a) or is_shift(b), f"a product of {a} and {b}"
