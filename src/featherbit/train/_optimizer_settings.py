"""The part of a recipe's schema that says how weights are updated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import nn

from ..optim import Interval, ScheduleKind, ShiftAdaMax, clip_latent_weights, parameter_groups
from ..quantizers import Lsq
from ._settings import Positive, Rate, Settings


class _OptimizerSettings(Settings):
    """The learning rate, the rate scale of latent weights and their clipping."""

    learning_rate: Positive
    scale_learning_rate: bool = True  # gamma = 1 / sqrt(1.5 / (fan_in + fan_out)) for latent weights
    clip: Positive = 1.0  # latent weights stay in their quantizer's range, [-1, 1] for one bit, times this
    gradient_clip: Positive | None = None  # the whole gradient's largest norm

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return an optimizer of a model's parameters.

        It clips latent weights after each step.
        """
        groups = parameter_groups(model, self.learning_rate, scale=self.scale_learning_rate)
        optimizer = self._make(_with_steps(groups, model, self.learning_rate))
        clip_latent_weights(optimizer, model, self.clip)
        return optimizer

    def _make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        raise NotImplementedError


def _with_steps(groups: list[dict[str, Any]], model: nn.Module, learning_rate: float) -> list[dict[str, Any]]:
    """Give each learned step of a quantizer a group of its own, with a rate in proportion to the step.

    Adam moves a parameter by about its rate, whatever its size: at a weight's rate, a step of 0.02 would jump by a
    fifth.
    """
    steps = {f"{path}.step": module.step for path, module in model.named_modules() if isinstance(module, Lsq)}
    known = {id(step) for step in steps.values()}
    rest = [{**group, "params": [p for p in group["params"] if id(p) not in known]} for group in groups]
    own = [
        {"params": [step], "lr": learning_rate * step.detach().abs().mean().item(), "layer": path}
        for path, step in steps.items()
    ]
    return [*own, *rest]


class AdamSettings(_OptimizerSettings):
    """Adam, as torch has it."""

    kind: Literal["adam"] = "adam"
    beta1: Rate = 0.9
    beta2: Rate = 0.999
    epsilon: Positive = 1e-8

    def _make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(groups, lr=self.learning_rate, betas=betas, eps=self.epsilon, fused=True)


class SgdSettings(_OptimizerSettings):
    """Plain gradient descent, or with momentum, as torch has it."""

    kind: Literal["sgd"]
    momentum: Rate = 0.0

    def _make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=self.learning_rate, momentum=self.momentum, fused=True)


class AdaMaxSettings(_OptimizerSettings):
    """AdaMax, as torch has it."""

    kind: Literal["adamax"]
    beta1: Rate = 0.9
    beta2: Rate = 0.999
    epsilon: Positive = 1e-8

    def _make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.Adamax(groups, lr=self.learning_rate, betas=betas, eps=self.epsilon)


class ShiftAdaMaxSettings(_OptimizerSettings):
    """Shift-based AdaMax: `optim.ShiftAdaMax`, which says what the settings are."""

    kind: Literal["shift_adamax"]
    beta1: Rate = 1 - 2.0**-3
    beta2: Rate = 1 - 2.0**-10
    epsilon: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    correction: Literal["multiply", "divide"] = "multiply"
    store_rounded: bool = False

    def _make(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return ShiftAdaMax(
            groups,
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            correction=self.correction,
            store_rounded=self.store_rounded,
        )


def _kind_or_adam(value: Any) -> Any:
    """Let an optimizer without `kind` be Adam, as it was when there was no other."""
    return {"kind": "adam", **value} if isinstance(value, dict) else value


OptimizerSettings = Annotated[
    Annotated[AdamSettings | SgdSettings | AdaMaxSettings | ShiftAdaMaxSettings, Field(discriminator="kind")],
    BeforeValidator(_kind_or_adam),
]


class ScheduleSettings(Settings):
    """How the learning rate falls: `optim.schedule`."""

    kind: ScheduleKind = "exponential"
    final_learning_rate: Positive
    interval: Interval = "step"


class WideningSettings(Settings):
    """A second stage of training, with a wider window for activations' gradients."""

    after_epochs: int = Field(ge=1)  # of the first stage; the rest of the epochs are the second
    window: Positive
    restart_schedule: bool = True  # whether each stage runs through the whole schedule of the learning rate
