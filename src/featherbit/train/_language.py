"""Training of language models by truncated back-propagation: the state is carried along, its gradient is not."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Streams
from ._evaluate import evaluation_streams, sum_nats
from ._lightning import TrainingModule
from ._recipe import Recipe
from ._task import LanguageModeling


class LanguageTraining(TrainingModule):
    """Trains a language model, which maps tokens and a state, by cross entropy.

    The training text is `batch_size` streams side by side, read some steps at a time from the beginning in each epoch,
    with a state of zeros there.

    Args:
        model: what is trained, as `models.LanguageModel`.
        recipe: what to do.
        task: its text.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, task: LanguageModeling) -> None:
        self.text = task
        self.streams = Streams(task.corpus.train, recipe.batch_size, task.sequence_length, drop_last=True)
        super().__init__(model, recipe, task, len(self.streams))
        self._state: Any = None
        self._nats = 0.0

    def train_dataloader(self) -> Streams:
        """Return the training batches, in the same order each epoch."""
        return self.streams

    def val_dataloader(self) -> Streams:
        """Return the validation batches."""
        return evaluation_streams(self.text.corpus.validation)

    def on_train_epoch_start(self) -> None:
        """Set the random state, and the model's to zeros."""
        super().on_train_epoch_start()
        self._state = None

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch, in nats per token."""
        inputs, targets = batch
        scores, state = self.model(inputs, self._state)
        self._state = _detached(state)
        loss = F.cross_entropy(scores.flatten(0, 1), targets.flatten())
        self.count(loss=loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start at the beginning of the text; training is over for this epoch."""
        self._state, self._nats = None, 0.0

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Add the nats of a batch, in float32 at any training precision."""
        with torch.autocast(self.device.type, enabled=False):
            nats, self._state = sum_nats(self.model, *batch, self._state)
        self._nats += nats

    def train_figure(self, loss: float) -> float:
        """Return the metric that the mean loss is."""
        return self.text.figure(loss)

    def validation_figure(self) -> float:
        """Return the validation metric."""
        return self.text.figure(self._nats / (len(self.text.corpus.validation) - 1))


def _detached(state: Any) -> Any:
    return state.detach() if isinstance(state, Tensor) else tuple(part.detach() for part in state)
