"""What makes a model one with a memory: it has `step` and `state_sizes`, and `step` is what is packed.

`step(x, state)` takes one input of each sequence, `[B, *shape]`, and for each of `state_sizes` a tensor `[B, size]`; it
returns the output and the next state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Step(nn.Module):
    """One step of a model with a memory, as a module of its own.

    Each part of the state is an argument.

    Args:
        model: has `step` and `state_sizes`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the output and each part of the next state."""
        step: Any = self.model.step
        out, after = step(x[:, 0] if is_token(x) else x, state)
        return (out, *after)


def state_sizes(model: nn.Module) -> tuple[int, ...] | None:
    """Return the features of each part of a model's state.

    `None` for one without a memory.
    """
    sizes: Any = getattr(model, "state_sizes", None)
    return tuple(sizes) if sizes is not None and hasattr(model, "step") else None


def is_token(x: Tensor) -> bool:
    """Whether a tensor holds rows of a table, not numbers."""
    return x.dtype in (torch.int32, torch.int64)


def as_sequence(x: Tensor) -> Tensor:
    """Return inputs of a sequence as the packed network takes them.

    Tokens `[T, B]` become int32 `[T, B, 1]`.
    """
    return x.to(torch.int32).unsqueeze(-1) if is_token(x) else x
