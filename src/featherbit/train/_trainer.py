"""The Lightning trainer that runs a recipe."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from ._progress import bar_or_lines
from ._recipe import Recipe
from ._run_record import AtomicCheckpointIO, RunRecord


def make_trainer(recipe: Recipe, run_dir: Path, record: RunRecord, *, progress: bool) -> pl.Trainer:
    """Return a trainer for the recipe, which keeps the run folder through `record`."""
    shown = [bar_or_lines(record)] if progress else []
    return pl.Trainer(
        accelerator=recipe.accelerator,
        devices=1,
        precision=recipe.precision,
        max_epochs=recipe.epochs,
        reload_dataloaders_every_n_epochs=1,  # each epoch has an order of its own
        plugins=[AtomicCheckpointIO()],
        callbacks=[record, *shown],
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in shown),
        enable_model_summary=False,
        enable_checkpointing=True,
        logger=TensorBoardLogger(run_dir, name="tensorboard", version=""),
        num_sanity_val_steps=0,
        log_every_n_steps=1,  # silences a warning about short epochs; only epoch means are logged
    )
