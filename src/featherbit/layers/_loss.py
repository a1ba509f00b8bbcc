"""The loss of the paper's networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SquareHingeLoss(nn.Module):
    """The mean square hinge loss of an L2-SVM output.

    Forward: `mean(max(0, 1 - t * y)^2)` over batch and classes, with target `t` +1 for the label's class and -1 for
    others.

    Source: the paper's section 1, training step.

    >>> SquareHingeLoss()(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).item()
    0.5
    """

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a float scalar.

        Args:
            scores: float `[batch, classes]`.
            labels: int64 `[batch]`, each `0 .. classes - 1`.
        """
        targets = torch.full_like(scores, -1.0).scatter_(1, labels.unsqueeze(1), 1.0)  # [batch, classes]
        return torch.relu(1.0 - targets * scores).square().mean()
