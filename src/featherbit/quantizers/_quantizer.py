"""`Quantizer`: the base of quantizers whose gradient estimator can be chosen, and the windows of a whole model.

A quantizer is two rules and a format. The base holds the backward rule, an estimator; a child says the other two, which
makes a new quantizer a short file. Quantizers with gradients of their own, such as a learned step, need not derive from
it: a layer takes any module.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from ..bits import BitFormat
from ..errors import InputError
from ._estimators import Estimator


class Quantizer(nn.Module):
    """A forward rule, a gradient estimator and a format.

    A child sets `format` and defines `rule`.

    Args:
        estimator: gives the gradient.

    >>> import torch
    >>> from featherbit.quantizers import StraightThrough
    >>> class Ternary(Quantizer):
    ...     format = BitFormat(2, "twos_complement")
    ...     def rule(self, x):
    ...         return x.round().clamp_(-1, 1)
    >>> Ternary(StraightThrough())(torch.tensor([-3.0, 0.2, 0.7])).tolist()
    [-1.0, 0.0, 1.0]
    """

    format: BitFormat

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        self.estimator = estimator

    def rule(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element; the argument is not changed."""
        raise NotImplementedError(f"{type(self).__name__} must define rule(x)")

    def forward(self, x: Tensor) -> Tensor:
        """Return the quantized value of each element, with the estimator's gradient."""
        return self.estimator(self.rule, x)

    @property
    def window(self) -> float | None:
        """The half-width of the estimator's window; `None` if it has none."""
        window: float | None = getattr(self.estimator, "window", None)
        return window

    @window.setter
    def window(self, window: float) -> None:
        if self.window is None:
            raise InputError(f"{self.estimator} has no window to change; choose another estimator")
        self.estimator = dataclasses.replace(self.estimator, window=float(window))  # type: ignore[type-var]

    def extra_repr(self) -> str:
        """Return what `print` shows between the parentheses."""
        return f"estimator={self.estimator}"


def widen_windows(model: nn.Module, window: float) -> int:
    """Set the window through which activations pass their gradient.

    Late in training most activations lie outside the window and get no gradient; a wider one lets them move again.
    Quantizers of weights and of gradients, and those without a window, are left as they are.

    Args:
        model: any module.
        window: the new half-width, > 0.

    Returns:
        How many quantizers were changed.

    Raises:
        InputError: a window that is not positive, or no quantizer that has one.

    Source: the paper's relaxed hard tanh (section 1, straight-through estimator).
    Differs: the paper's width is not known, so it is a parameter.

    >>> from featherbit.quantizers import Sign
    >>> model = nn.Sequential(Sign(), Sign(window=None))
    >>> widen_windows(model, 2.0), model[0].window, model[1].window
    (1, 2.0, None)
    """
    widened = windowed_activations(model)
    for module in widened:
        module.window = window  # type: ignore[assignment]
    return len(widened)


def windowed_activations(model: nn.Module) -> list[nn.Module]:
    """Return the quantizers that `widen_windows` would change.

    Raises:
        InputError: there are none.
    """
    others = {id(part) for module in model.modules() for part in _not_of_activations(module)}
    windowed = [m for m in model.modules() if id(m) not in others and getattr(m, "window", None) is not None]
    if not windowed:
        raise InputError("no activation quantizer of the model has a window to widen; use Sign(window=1.0), say")
    return windowed


def _not_of_activations(module: nn.Module) -> list[nn.Module]:
    roots = [getattr(module, name, None) for name in ("weight_quantizer", "gradient_quantizer")]
    return [part for root in roots if isinstance(root, nn.Module) for part in root.modules()]
