"""`fit`: a recipe and a folder in, a trained and evaluated network out."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..data import mix_seed
from ._memory import ask_for_huge_pages
from ._recipe import Recipe
from ._result import Result, measure, read_result
from ._run_folder import METRICS, RECIPE, RESULT, checkpoint_path, open_run, write_json

if TYPE_CHECKING:
    from ._run_record import RunRecord
    from ._task import Task

_INTERRUPTED = 130  # the shell's exit status of a program ended by Ctrl-C


def fit(recipe: Recipe, run_dir: str | Path, *, resume: bool = True, progress: bool = True) -> Result:
    """Train by a recipe and evaluate the result; resume an interrupted run.

    The final weights of a resumed run equal those of an uninterrupted one, bit for bit, on one machine.
    Ctrl-C says how to resume and ends the program with status 130.

    Args:
        recipe: what to do.
        run_dir: folder for `recipe.json`, `metrics.csv`, `tensorboard`, `checkpoints/last.ckpt`,
            `checkpoints/selected.ckpt` and `result.json`; made if missing.
        resume: continue a run of the same recipe that is there; otherwise it is deleted first. A finished one is
            returned.
        progress: whether to show progress on standard output.

    Returns:
        Figures of the last epoch and of the epoch selected by validation, and how they came about.

    Raises:
        RecipeError: the folder holds a run of another recipe, or the data is too small for the batch size.
        DataError: the data or a checkpoint is missing or damaged.
    """
    run_dir = Path(run_dir)
    if not resume:
        _delete_run(run_dir)
    open_run(run_dir, recipe)
    if (run_dir / RESULT).exists():
        return read_result(run_dir)
    ask_for_huge_pages()
    with _explained_interrupt(run_dir), _torch_state(recipe):
        task = recipe.data.task()
        task.check(recipe)
        record = _train(recipe, task, run_dir, progress)
        seconds = sum(row["seconds"] for row in record.rows)
        result = measure(run_dir, recipe, task, seconds=seconds, selected_epoch=record.best_epoch)
        write_json(run_dir / RESULT, result.model_dump(mode="json"))
    if progress:
        print(result.summary(), flush=True)
    return result


def _train(recipe: Recipe, task: Task, run_dir: Path, progress: bool) -> RunRecord:
    """Run the epochs that are left; checkpoints go to the run folder."""
    from ._quiet import quiet_lightning

    with quiet_lightning():
        from ._run_record import RunRecord
        from ._trainer import make_trainer

        torch.manual_seed(mix_seed(recipe.seed, -1))
        model: nn.Module = recipe.model.build_for(task.facts)
        if recipe.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unknown to its annotations
        record = RunRecord(run_dir, recipe.epochs, task.metric)
        trainer = make_trainer(recipe, run_dir, record, progress=progress)
        last = checkpoint_path(run_dir, "last")
        trainer.fit(
            task.module(model, recipe),
            ckpt_path=str(last) if last.exists() else None,
            weights_only=True,
        )
    return record


@contextmanager
def _torch_state(recipe: Recipe) -> Iterator[None]:
    """Give torch the recipe's threads; restore its threads and random state after."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):  # the CPU's; a GPU's random state is not given back
        torch.set_num_threads(recipe.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def _explained_interrupt(run_dir: Path) -> Iterator[None]:
    """Turn Ctrl-C into a message and exit status 130.

    Lightning turns it into a bare exit and leaves interrupts disabled, which is undone here.
    """
    in_main = threading.current_thread() is threading.main_thread()
    handler: Any = signal.getsignal(signal.SIGINT)
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        print(f"\ninterrupted; train again with the same recipe and run folder {run_dir} to resume", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)


def _delete_run(run_dir: Path) -> None:
    for name in (RESULT, METRICS):
        (run_dir / name).unlink(missing_ok=True)
    for name in ("checkpoints", "tensorboard"):
        shutil.rmtree(run_dir / name, ignore_errors=True)
    (run_dir / RECIPE).unlink(missing_ok=True)
