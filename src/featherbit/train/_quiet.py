"""Silence what Lightning says that is not for featherbit's users, and nothing else."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("lightning.pytorch", "lightning.fabric")  # notes on devices, tips, "max_epochs reached"
_NOT_FOR_USERS = (
    # Lightning's own use of a torch name that torch renamed
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # the recipe's accelerator is a choice; "cpu" is the one whose runs are reproducible
    r"GPU available but not used",
    # resuming, or starting over, in a run folder that is there is what `fit` is for
    r"Checkpoint directory .* exists and is not empty",
)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's notes about itself and the listed warnings, inside the block."""
    with warnings.catch_warnings():
        for message in _NOT_FOR_USERS:
            warnings.filterwarnings("ignore", message=message)
        import lightning.pytorch  # noqa: F401  # its import sets the levels that are changed here

        loggers = [logging.getLogger(name) for name in _LOGGERS]
        levels = [logger.level for logger in loggers]
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
