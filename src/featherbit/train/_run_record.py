"""What a run leaves in its folder: checkpoints that are whole at any moment, and the rows of `metrics.csv`."""

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

from ._metric import Metric
from ._run_folder import METRICS, checkpoint_path, read_checkpoint, write_atomically


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


class RunRecord(Checkpoint):
    """Keeps the run folder: metrics, last checkpoint, validation-selected checkpoint.

    Its state, the rows of `metrics.csv`, is a part of the checkpoint, so a resumed run continues them.

    Args:
        run_dir: the run folder.
        epochs: of the whole run.
        metric: what selects the best epoch.
    """

    def __init__(self, run_dir: Path, epochs: int, metric: Metric) -> None:
        super().__init__()
        self.run_dir = run_dir
        self.epochs = epochs
        self.metric = metric
        self.rows: list[dict[str, float]] = []
        self._started = 0.0

    @property
    def best_epoch(self) -> int:
        """The first epoch with the best metric on the validation split."""
        return max(range(len(self.rows)), key=lambda i: self.metric.merit(self.rows[i][self._column("validation")]))

    def _column(self, split: str) -> str:
        return f"{split}_{self.metric.name}"

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a checkpoint's rows."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write metrics and checkpoints.

        The selected checkpoint goes first: a crash between the two repeats the epoch, which selects the same again.
        """
        self.rows.append(self._row(trainer))
        if self.best_epoch == len(self.rows) - 1:
            trainer.save_checkpoint(checkpoint_path(self.run_dir, "selected"), weights_only=True)
        trainer.save_checkpoint(checkpoint_path(self.run_dir, "last"), weights_only=False)
        self._write_metrics()

    def _row(self, trainer: pl.Trainer) -> dict[str, float]:
        names = ("learning_rate", "train_loss", self._column("train"), self._column("validation"))
        metrics = {name: float(trainer.callback_metrics[name]) for name in names}
        seconds = round(time.monotonic() - self._started, 3)
        return {"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics, "seconds": seconds}

    def _write_metrics(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.run_dir / METRICS, lambda file: file.write(text.getvalue().encode()))

    def line(self) -> str:
        """Return the last row in one line."""
        row, text = self.rows[-1], self.metric.text
        return (
            f"epoch {row['epoch'] + 1}/{self.epochs}  loss {row['train_loss']:.4f}  "
            f"train {text(row[self._column('train')])}  validation {text(row[self._column('validation')])}  "
            f"{row['seconds']:.1f} s"
        )
