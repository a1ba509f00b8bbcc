"""The Lightning side of training: module, checkpoints, history. Imported only when a run starts, for it takes seconds.

The random state is set anew from (seed, epoch) at each epoch's start, and so is the order of the examples: a run
resumed at an epoch's start therefore computes what an uninterrupted one does, with no generator state to save.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn

from ..data import Batches, Dataset, epoch_order, mix_seed
from ..errors import FeatherbitError
from ..layers import SquareHingeLoss
from ..quantizers import widen_windows, windowed_activations
from ._augment import make_augmentation
from ._evaluate import count_correct
from ._rates import rate_factor
from ._recipe import Recipe
from ._run_folder import METRICS, checkpoint_path, read_checkpoint, write_atomically

_EVALUATION_BATCH = 1000


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically and reads them without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write it so that a crash at any moment leaves the old or the new one."""
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU, whence Lightning moves it."""
        return read_checkpoint(Path(path))


class Classifier(pl.LightningModule):
    """A model with its loss, data order, optimizer and accuracy.

    Args:
        model: maps uint8 images to scores.
        recipe: what to do.
        dataset: its splits.

    Raises:
        InputError: windows are to be widened, but no activation has one.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, dataset: Dataset) -> None:
        super().__init__()
        if recipe.widening is not None:
            windowed_activations(model)  # refuses at once what the second stage could not widen
        self.model = model
        self.loss = SquareHingeLoss()
        self.augment = make_augmentation(recipe.augmentation, dataset.image_shape)
        self.recipe = recipe
        self.dataset = dataset
        self.steps_per_epoch = len(dataset.train) // recipe.batch_size
        self._sums: dict[str, Tensor] = {}
        self._correct = 0

    def train_dataloader(self) -> Batches:
        """Return this epoch's batches; called at the start of each epoch."""
        train = self.dataset.train
        order = epoch_order(len(train), self.recipe.seed, self.current_epoch)
        return Batches(train, self.recipe.batch_size, order=order, drop_last=True)

    def val_dataloader(self) -> Batches:
        """Return the validation batches."""
        return Batches(self.dataset.validation, _EVALUATION_BATCH)

    def on_train_epoch_start(self) -> None:
        """Set the random state from seed and epoch, and the windows from the epoch."""
        torch.manual_seed(mix_seed(self.recipe.seed, self.current_epoch))
        self._widen(self.model)
        self._sums = {"loss": torch.zeros((), device=self.device), "correct": torch.zeros((), device=self.device)}

    def _widen(self, model: nn.Module) -> None:
        widening = self.recipe.widening
        if widening is not None and self.current_epoch >= widening.after_epochs:
            widen_windows(model, widening.window)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        images, labels = batch
        scores = self.model(self.augment(images))
        loss: Tensor = self.loss(scores, labels)
        self._sums["loss"] += loss.detach()
        self._sums["correct"] += (scores.argmax(dim=1) == labels).sum()
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self._correct = 0

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count the right answers of a batch, in float32 at any training precision."""
        images, labels = batch
        with torch.autocast(self.device.type, enabled=False):
            self._correct += count_correct(self.model(images), labels)

    def on_validation_epoch_end(self) -> None:
        """Log the validation accuracy, in percent."""
        accuracy = 100.0 * self._correct / len(self.dataset.validation)
        self.log("validation_accuracy", torch.tensor(accuracy, dtype=torch.float64), prog_bar=True)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss, and its accuracy in percent.

        Dropout and augmentation are on.

        Raises:
            FeatherbitError: the loss is not finite, so the weights are lost; the last checkpoint is from before.
        """
        examples = self.steps_per_epoch * self.recipe.batch_size
        loss = self._sums["loss"] / self.steps_per_epoch
        if not loss.isfinite():
            raise FeatherbitError(
                f"training diverged: the loss of epoch {self.current_epoch + 1} is {loss.item()}; "
                "lower optimizer.learning_rate and start over"
            )
        self.log("train_loss", loss, prog_bar=True)
        self.log("train_accuracy", 100.0 * self._sums["correct"] / examples)
        self.log("learning_rate", self.learning_rate)

    @property
    def learning_rate(self) -> float:
        """The current rate of the parameters that are not latent weights."""
        groups = self.trainer.optimizers[0].param_groups
        return float(groups[-1]["lr"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilding the model takes."""
        checkpoint["featherbit"] = {"image_shape": list(self.dataset.image_shape), "classes": self.dataset.classes}

    def configure_optimizers(self) -> Any:
        """Return the optimizer, which clips latent weights, and its schedule."""
        optimizer = self.recipe.optimizer.build(self.model)
        factor = rate_factor(self.recipe, self.steps_per_epoch)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class RunRecord(Checkpoint):
    """Keeps the run folder: metrics, last checkpoint, validation-selected checkpoint.

    Its state, the rows of `metrics.csv` and the best epoch, is a part of the checkpoint, so a resumed run continues
    both.

    Args:
        run_dir: the run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.rows: list[dict[str, float]] = []
        self.best_accuracy = -1.0
        self.best_epoch = -1
        self._started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return rows and best epoch."""
        return {"rows": self.rows, "best_accuracy": self.best_accuracy, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a checkpoint's rows and best epoch."""
        self.rows = list(state_dict["rows"])
        self.best_accuracy, self.best_epoch = state_dict["best_accuracy"], state_dict["best_epoch"]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write metrics and checkpoints.

        The selected checkpoint goes first: a crash between the two repeats the epoch, which selects the same again.
        """
        row = self._row(trainer)
        self.rows.append(row)
        if row["validation_accuracy"] > self.best_accuracy:
            self.best_accuracy, self.best_epoch = row["validation_accuracy"], trainer.current_epoch
            trainer.save_checkpoint(checkpoint_path(self.run_dir, "selected"), weights_only=True)
        trainer.save_checkpoint(checkpoint_path(self.run_dir, "last"), weights_only=False)
        self._write_metrics()

    def _row(self, trainer: pl.Trainer) -> dict[str, float]:
        names = ("learning_rate", "train_loss", "train_accuracy", "validation_accuracy")
        metrics = {name: float(trainer.callback_metrics[name]) for name in names}
        seconds = round(time.monotonic() - self._started, 3)
        return {"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics, "seconds": seconds}

    def _write_metrics(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.run_dir / METRICS, lambda file: file.write(text.getvalue().encode()))
