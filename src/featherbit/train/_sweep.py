"""Sweeps: many runs of one recipe with changed settings, each an ordinary run folder `CASE/seed-N`.

The run folders are all the state there is, so a sweep that was killed goes on where it stopped, and whoever asks sees
how far it is. A process claims a run by a lock on a file in its folder, which the system releases when the process
ends, however it ends; so several processes can share a sweep. A pool of processes of our own was rejected: which core a
process may use, and for how long, is for the user to say.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ..errors import FeatherbitError, RecipeError
from ._fit import fit
from ._recipe import Recipe
from ._run_folder import RECIPE, RESULT, changed_settings, read_recipe

Figure = Literal["last.train", "last.validation", "last.test", "selected.train", "selected.validation", "selected.test"]
_LOCK = ".lock"
_FAILURE = "failure.txt"


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Args:
        case: name of its case.
        recipe: what is trained, seed included.
        changes: the settings that make the case, by dotted name.
        point: those of them that a grid gave.
    """

    case: str
    recipe: Recipe
    changes: Mapping[str, Any]
    point: Mapping[str, Any]

    def folder(self, out: Path) -> Path:
        """Return its run folder in the sweep's folder."""
        return out / self.case / f"seed-{self.recipe.seed}"


@dataclass(frozen=True)
class Sweep:
    """Runs to be compared.

    Args:
        name: of the sweep.
        description: one line.
        baseline: the case that the others are compared with.
        figure: what is compared: the metric of a checkpoint on a split.
        runs: in the order in which they are trained, seed by seed.
    """

    name: str
    description: str
    baseline: str
    figure: Figure
    runs: tuple[SweepRun, ...]

    @property
    def cases(self) -> tuple[str, ...]:
        """The cases' names, in order."""
        return tuple(dict.fromkeys(run.case for run in self.runs))


@dataclass(frozen=True)
class SweepEvent:
    """What became of a run: it starts, it ended, or it failed and left a reason."""

    run: SweepRun
    kind: Literal["started", "finished", "failed"]
    reason: str = ""


def run_sweep(sweep: Sweep, out: str | Path) -> Iterator[SweepEvent]:
    """Train the runs that are neither finished nor claimed by another process.

    A run that fails, by a loss that is not finite for instance, leaves `failure.txt` in its folder and the others go
    on; the next call tries it again. Ctrl-C ends the program with status 130; the next call goes on.

    Args:
        sweep: its runs.
        out: the sweep's folder; made if missing.

    Yields:
        Two events for each run that is trained here.

    Raises:
        RecipeError: before the first run: the folder holds a run of another recipe under the same name.
    """
    out = Path(out)
    for run in sweep.runs:
        _refuse_other_recipe(run, run.folder(out))
    started, worked = time.time(), True
    while worked:  # again, for what other processes claimed and did not end
        worked = False
        for run in sweep.runs:
            for event in _attempt(run, run.folder(out), started):
                worked = True
                yield event


def is_finished(run: SweepRun, out: str | Path) -> bool:
    """Say whether a run has a result."""
    return (run.folder(Path(out)) / RESULT).exists()


def failure(run: SweepRun, out: str | Path) -> str | None:
    """Return why a run failed when it was last tried, in one line; None if it did not."""
    path = run.folder(Path(out)) / _FAILURE
    return path.read_text(encoding="utf-8").strip().splitlines()[-1] if path.exists() else None


def _refuse_other_recipe(run: SweepRun, folder: Path) -> None:
    if not (folder / RECIPE).exists():
        return
    changed = changed_settings(read_recipe(folder), run.recipe)
    if changed:
        raise RecipeError(
            f"{folder} holds a run of another recipe; changed: {'; '.join(changed)}. "
            "Choose another folder for the sweep, take the change back, or delete that run"
        )


def _attempt(run: SweepRun, folder: Path, started: float) -> Iterator[SweepEvent]:
    """Train a run if it is left to do and no other process has it."""
    if not _is_left(folder, started):
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        claim = FileLock(folder / _LOCK, blocking=False).acquire()
    except Timeout:
        return
    with claim:
        if _is_left(folder, started):  # still: another process may have ended it before the claim
            yield SweepEvent(run, "started")
            yield _train(run, folder)


def _is_left(folder: Path, started: float) -> bool:
    """Say whether a run has neither a result nor failed since this process started."""
    failed = folder / _FAILURE
    return not (folder / RESULT).exists() and not (failed.exists() and failed.stat().st_mtime >= started)


def _train(run: SweepRun, folder: Path) -> SweepEvent:
    try:
        fit(run.recipe, folder, progress=False)
    except Exception as error:  # of whatever kind: the other runs must not be lost
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        known = isinstance(error, FeatherbitError)  # anything else keeps its traceback
        text = reason if known else f"{traceback.format_exc()}\n{reason}"
        (folder / _FAILURE).write_text(f"{text}\n", encoding="utf-8")
        return SweepEvent(run, "failed", reason)
    finally:
        gc.collect()  # trainer and network refer to each other, so they would pile up from run to run
    (folder / _FAILURE).unlink(missing_ok=True)
    return SweepEvent(run, "finished")
