"""Accuracy, always in float32 and in eval mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import Batches, Split

_BATCH_SIZE = 1000  # changes speed and memory only: eval mode treats every row alone


def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy of a model in percent.

    The model computes in eval mode, without autocast; its mode is restored afterwards.

    Args:
        model: maps uint8 `[B, *image]` to scores `[B, classes]`; of equal scores the first class wins.
        images: uint8 `[N, *image]`, N >= 1.
        labels: int64 `[N]`.

    Returns:
        Share of images whose best score is their label's, 0 to 100.
    """
    was_training = model.training
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            correct = sum(
                count_correct(model(batch.to(device)), truth.to(device))
                for batch, truth in Batches(Split(images, labels), _BATCH_SIZE)
            )
    finally:
        model.train(was_training)
    return 100.0 * correct / len(labels)


def count_correct(scores: Tensor, labels: Tensor) -> int:
    """Return how many rows of scores `[B, classes]` are largest at their label `[B]`."""
    return int((scores.argmax(dim=1) == labels).sum())
