"""Accuracy of classifiers and nats per token of language models, always in float32 and in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import NO_TARGET, Batches, Split, Streams
from ..errors import InputError

_BATCH_SIZE = 1000  # changes speed and memory only: eval mode treats every row alone
EVALUATION_STREAMS = 20
"""Parts of a text that are evaluated side by side; each begins with a state of zeros."""
_STEPS = 64  # changes speed and memory only: the state is carried


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
    with _evaluating(model) as device:
        correct = sum(
            count_correct(model(batch.to(device)), truth.to(device))
            for batch, truth in Batches(Split(images, labels), _BATCH_SIZE)
        )
    return 100.0 * correct / len(labels)


def count_correct(scores: Tensor, labels: Tensor) -> int:
    """Return how many rows of scores `[B, classes]` are largest at their label `[B]`."""
    return int((scores.argmax(dim=1) == labels).sum())


def nats_per_token(model: nn.Module, tokens: Tensor) -> float:
    """Return the mean cross entropy of a language model on a text.

    The text is read as 20 streams side by side, each from a state of zeros on; every token but the first is predicted
    once. The model computes in eval mode, without autocast; its mode is restored afterwards.

    Args:
        model: maps tokens `[T, B]` and a state to scores `[T, B, tokens]` and a state, as `models.LanguageModel`.
        tokens: int64 `[N]`, N >= 2.

    Returns:
        Nats; its exponential is the perplexity, and over the logarithm of 2 it is in bits.

    Raises:
        InputError: less than two tokens.
    """
    if len(tokens) < 2:
        raise InputError(f"a text of at least two tokens is needed, got {len(tokens)}")
    total, state = 0.0, None
    with _evaluating(model) as device:
        for inputs, targets in evaluation_streams(tokens):
            nats, state = sum_nats(model, inputs.to(device), targets.to(device), state)
            total += nats
    return total / (len(tokens) - 1)


def evaluation_streams(tokens: Tensor) -> Streams:
    """Return the batches in which a text is evaluated."""
    return Streams(tokens, min(EVALUATION_STREAMS, len(tokens) - 1), _STEPS)


def sum_nats(model: nn.Module, inputs: Tensor, targets: Tensor, state: Any) -> tuple[float, Any]:
    """Return the summed cross entropy of a batch `[T, B]`, and the state after it."""
    scores, state = model(inputs, state)  # [T, B, tokens]
    nats = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET, reduction="none")
    return float(nats.sum(dtype=torch.float64)), state


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[torch.device]:
    """Put a model into eval mode, without autocast and gradients; give the device it is on."""
    was_training = model.training
    model.eval()
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield device
    finally:
        model.train(was_training)
