"""The Lightning side of training. Imported only when a run starts, for it takes seconds.

The random state is set anew from (seed, epoch) at each epoch's start, and so is the order of the examples: a run
resumed at an epoch's start therefore computes what an uninterrupted one does, with no generator state to save.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from ..data import Batches, epoch_order, mix_seed
from ..errors import FeatherbitError
from ..layers import SquareHingeLoss
from ..quantizers import widen_windows, windowed_activations
from ._augment import make_augmentation
from ._evaluate import count_correct
from ._rates import rate_factor
from ._recipe import Recipe
from ._task import Classification, Task

_EVALUATION_BATCH = 1000


class TrainingModule(pl.LightningModule):
    """A model with its optimizer, its random state and what is logged.

    A child gives the batches and takes the steps; it adds each batch's loss by `count`.

    Args:
        model: what is trained.
        recipe: what to do.
        task: its data.
        steps_per_epoch: number of batches.

    Raises:
        InputError: windows are to be widened, but no activation has one.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, task: Task, steps_per_epoch: int) -> None:
        super().__init__()
        if recipe.widening is not None:
            windowed_activations(model)  # refuses at once what the second stage could not widen
        self.model = model
        self.recipe = recipe
        self.task = task
        self.steps_per_epoch = steps_per_epoch
        self._sums: dict[str, Tensor] = {}

    def on_train_epoch_start(self) -> None:
        """Set the random state from seed and epoch, and the windows from the epoch."""
        torch.manual_seed(mix_seed(self.recipe.seed, self.current_epoch))
        self._widen(self.model)
        self._sums = {}

    def _widen(self, model: nn.Module) -> None:
        widening = self.recipe.widening
        if widening is not None and self.current_epoch >= widening.after_epochs:
            widen_windows(model, widening.window)

    def count(self, **values: Tensor) -> None:
        """Add values of a batch, scalars, to the epoch's sums."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=self.device)) + value.detach()

    def train_figure(self, loss: float) -> float:
        """Return the metric of the epoch's training batches, with dropout as it was.

        Args:
            loss: their mean.
        """
        raise NotImplementedError

    def validation_figure(self) -> float:
        """Return the metric of the validation batches."""
        raise NotImplementedError

    def on_validation_epoch_end(self) -> None:
        """Log the validation metric."""
        value = torch.tensor(self.validation_figure(), dtype=torch.float64)
        self.log(f"validation_{self.task.metric.name}", value, prog_bar=True)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss and its metric.

        Dropout and augmentation are on.

        Raises:
            FeatherbitError: the loss is not finite, so the weights are lost; the last checkpoint is from before.
        """
        loss = self._sums["loss"] / self.steps_per_epoch
        if not loss.isfinite():
            raise FeatherbitError(
                f"training diverged: the loss of epoch {self.current_epoch + 1} is {loss.item()}; "
                "lower optimizer.learning_rate and start over"
            )
        self.log("train_loss", loss, prog_bar=True)
        self.log(f"train_{self.task.metric.name}", self.train_figure(loss.item()))
        self.log("learning_rate", self.learning_rate)

    @property
    def learning_rate(self) -> float:
        """The current rate of the parameters that are not latent weights."""
        groups = self.trainer.optimizers[0].param_groups
        return float(groups[-1]["lr"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilding the model takes."""
        checkpoint["featherbit"] = self.task.facts

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the norm of the whole gradient."""
        clip = self.recipe.optimizer.gradient_clip
        if clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), clip)

    def configure_optimizers(self) -> Any:
        """Return the optimizer, which clips latent weights, and its schedule."""
        optimizer = self.recipe.optimizer.build(self.model)
        factor = rate_factor(self.recipe, self.steps_per_epoch)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Classifier(TrainingModule):
    """Trains a model that maps uint8 images to scores, by the square hinge loss.

    Args:
        model: what is trained.
        recipe: what to do.
        task: its data.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, task: Classification) -> None:
        self.dataset = task.dataset
        super().__init__(model, recipe, task, len(task.dataset.train) // recipe.batch_size)
        self.loss = SquareHingeLoss()
        self.augment = make_augmentation(recipe.augmentation, task.dataset.image_shape)
        self._correct = 0

    def train_dataloader(self) -> Batches:
        """Return this epoch's batches; called at the start of each epoch."""
        train = self.dataset.train
        order = epoch_order(len(train), self.recipe.seed, self.current_epoch)
        return Batches(train, self.recipe.batch_size, order=order, drop_last=True)

    def val_dataloader(self) -> Batches:
        """Return the validation batches."""
        return Batches(self.dataset.validation, _EVALUATION_BATCH)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        scores = self.model(self.augment(images))
        loss: Tensor = self.loss(scores, labels)
        self.count(loss=loss, correct=(scores.argmax(dim=1) == labels).sum())
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._correct = 0

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count the right answers of a batch, in float32 at any training precision."""
        images, labels = batch
        with torch.autocast(self.device.type, enabled=False):
            self._correct += count_correct(self.model(images), labels)

    def train_figure(self, loss: float) -> float:
        """Return the accuracy of the training batches, in percent."""
        return float(100.0 * self._sums["correct"] / (self.steps_per_epoch * self.recipe.batch_size))

    def validation_figure(self) -> float:
        """Return the validation accuracy, in percent."""
        return 100.0 * self._correct / len(self.dataset.validation)
