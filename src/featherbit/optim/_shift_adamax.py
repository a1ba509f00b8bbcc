"""Shift-based AdaMax: AdaMax whose every factor is a power of two.

The averages are written with one factor each, `m + 2^-3 * (g - m)` and `v - 2^-10 * v`, where the usual form has two,
of which one is no power of two. The division by `v` is one by `AP2(v)`, which equals the product with `AP2(1 / v)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from ..errors import InputError
from ..quantizers import ap2

Correction = Literal["multiply", "divide"]


class ShiftAdaMax(Optimizer):
    """AdaMax with shifts for multiplications.

    At step t, with gradient g: `m += (1 - beta1) * (g - m)`; `v = max(v - (1 - beta2) * v, |g|)`;
    `theta -= step * m / AP2(v)` with `step = AP2(lr) * AP2(1 - beta1^t)`. Where v is 0, theta stays.

    Args:
        params: parameters or groups, as in any torch optimizer; a group may have its own `lr`, `betas` and so on. See
            `parameter_groups` for the rate scale of binary weights.
        lr: alpha, > 0; its power of two is used.
        betas: beta1 and beta2, `0 <= beta < 1`; the factors are shifts where `1 - beta` is a power of two.
        eps: added to `AP2(v)`, >= 0. With it the divisor is no power of two.
        correction: `"multiply"` is the printed formula; `"divide"`: `step = AP2(lr / (1 - beta1^t))`, as in AdaMax.
        store_rounded: whether `v := AP2(v) + eps` is kept for the next step. Rounded to the nearest power of two, a v
            that loses less than 29 % a step never falls.

    Raises:
        InputError: a setting out of range, or a sparse or complex gradient.

    Source: the paper's shift-based AdaMax (section 1), printed algorithm. The authors' Torch7 code is
    `ShiftAdaMax(params, lr=2**-6, betas=(0.9, 0.999), eps=2**-27, correction="divide", store_rounded=True)`.
    Differs: the rate, which schedules and the rate scale change, is rounded to a power of two as well.

    >>> theta = torch.tensor([1.0], requires_grad=True)
    >>> optimizer = ShiftAdaMax([theta], lr=0.5)
    >>> theta.grad = torch.tensor([3.0])
    >>> optimizer.step()
    >>> theta.item() == 1.0 - 0.5 * 2**-3 * (3.0 / 8) / 4  # lr, AP2(1 - beta1), m, AP2(v)
    True
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 2.0**-10,
        betas: tuple[float, float] = (1 - 2.0**-3, 1 - 2.0**-10),
        eps: float = 0.0,
        *,
        correction: Correction = "multiply",
        store_rounded: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "correction": correction, "store_rounded": store_rounded}
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; the others are the defaults."""
        _check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss and the gradients anew; its value is returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        assert gradient is not None, "checked by step"
        if gradient.is_sparse or gradient.is_complex():
            raise InputError("ShiftAdaMax takes dense real gradients only")
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_inf"] = torch.zeros_like(parameter)
        state["step"] += 1
        m, v = state["exp_avg"], state["exp_inf"]
        m.add_(gradient.sub(m).mul_(1 - beta1))
        torch.maximum(v.sub_(v.mul(1 - beta2)), gradient.abs(), out=v)
        divisor = ap2(v)
        if group["eps"]:
            divisor.add_(group["eps"])
        if group["store_rounded"]:
            v.copy_(divisor)
        divisor.masked_fill_(divisor == 0, math.inf)
        parameter.sub_(m.div(divisor).mul_(_step_size(group, 1 - beta1 ** int(state["step"]))))


def _step_size(group: dict[str, Any], correction: float) -> float:
    rate = float(group["lr"])
    if group["correction"] == "divide":
        return _power_of_two(rate / correction)
    return _power_of_two(rate) * _power_of_two(correction)


def _power_of_two(x: float) -> float:
    return ap2(torch.tensor(x, dtype=torch.float64)).item()


def _check(group: dict[str, Any]) -> None:
    rate, betas, eps = float(group["lr"]), group["betas"], group["eps"]
    if not 0 < rate < math.inf:
        raise InputError(f"lr must be positive, got {rate!r}")
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise InputError(f"betas must be two numbers from 0 up to but not 1, got {betas!r}")
    if not 0 <= eps < math.inf:
        raise InputError(f"eps must not be negative, got {eps!r}")
    if group["correction"] not in ("multiply", "divide"):
        raise InputError(f"correction must be 'multiply' or 'divide', got {group['correction']!r}")
