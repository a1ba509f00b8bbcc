"""Progress: a bar on a terminal, one line per epoch anywhere else."""

from __future__ import annotations

import sys

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, RichProgressBar

from ._run_record import RunRecord


class EpochLines(Callback):
    """Prints one line per epoch, for logs and pipes.

    Args:
        record: the callback that holds the epochs' metrics; must stand after this one.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self._printed: set[int] = set()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the epoch before, whose row is complete by now."""
        self._print()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the last epoch."""
        self._print()

    def _print(self) -> None:
        if self.record.rows and self.record.rows[-1]["epoch"] not in self._printed:
            self._printed.add(int(self.record.rows[-1]["epoch"]))
            print(self.record.line(), flush=True)


def bar_or_lines(record: RunRecord) -> Callback:
    """Return the callback that fits standard output."""
    return RichProgressBar() if sys.stdout.isatty() else EpochLines(record)
