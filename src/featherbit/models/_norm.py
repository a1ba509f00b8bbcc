"""The batch norm of a network's hidden layers, by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

from ..layers import ShiftBatchNorm1d, ShiftBatchNorm2d

NormKind = Literal["batch", "shift"]


def make_norm(kind: NormKind, features: int, *, images: bool = False) -> nn.Module:
    """Return a batch norm.

    Args:
        kind: `"batch"`: torch's, with eps 1e-4 and momentum 0.1; `"shift"`: shift-based, with its own defaults.
        features: number of channels.
        images: whether it takes `[B, C, H, W]` rather than `[B, C]`.

    Source: the paper's section 2: both with the settings of the code base that used them.

    >>> make_norm("shift", 3)
    ShiftBatchNorm1d(3, eps=1e-05, momentum=0.125, affine=True, track_running_stats=True)
    """
    if kind == "shift":
        return ShiftBatchNorm2d(features) if images else ShiftBatchNorm1d(features)
    norm = nn.BatchNorm2d if images else nn.BatchNorm1d
    return norm(features, eps=1e-4, momentum=0.1)
