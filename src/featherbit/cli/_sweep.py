"""`featherbit sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ._show import console, table

if TYPE_CHECKING:
    from ..train import CaseSummary, Sweep

_SOME_FAILED = 1
_COLUMNS = ["case", ">seeds", ">mean", ">deviation", ">difference", ">its deviation"]


def sweep(
    name: Annotated[
        str | None, typer.Argument(metavar="[SWEEP]", help="A sweep's name or a .toml file; none lists the sweeps.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Its folder; sweeps/SWEEP unless given.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting in every run.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0,1,2", help="Seeds, instead of the sweep's own.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Apply the smoke settings, for runs of seconds.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Train nothing; report what is finished so far.")] = False,
) -> None:
    """Train a recipe with changed settings and seeds, and compare the results.

    The same command again goes on where it was interrupted. Several processes may work on one sweep: give each the
    same command.
    """
    from .. import recipes

    if name is None:
        _print_sweeps()
        return
    chosen = recipes.load_sweep(name, override or (), seeds=_numbers(seeds), smoke=smoke)
    folder = out or Path("sweeps", f"{chosen.name}-smoke" if smoke else chosen.name)
    if not report:
        _train(chosen, folder)
    _report(chosen, folder)


def _print_sweeps() -> None:
    from .. import recipes

    known = [recipes.load_sweep(each) for each in recipes.sweep_names()]
    rows = [(each.name, each.description, len(each.cases), len(each.runs)) for each in known]
    console().print(table("sweeps", ["name", "description", ">cases", ">runs"], rows))


def _numbers(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"seeds are whole numbers with commas between, such as 0,1,2; got {text!r}") from None


def _train(chosen: Sweep, folder: Path) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ..train import is_finished, read_result, run_sweep

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    screen = console()
    with Progress(*columns, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task(chosen.name, total=len(chosen.runs))
        for event in run_sweep(chosen, folder):
            run = event.run
            done = sum(is_finished(each, folder) for each in chosen.runs)
            progress.update(task, description=f"{run.case} seed {run.recipe.seed}", completed=done)
            if event.kind == "failed":
                screen.print(f"{run.case} seed {run.recipe.seed} failed: {event.reason}")
            elif event.kind == "finished":
                screen.print(f"{done}/{len(chosen.runs)} {run.case}: {read_result(run.folder(folder)).summary()}")


def _report(chosen: Sweep, folder: Path) -> None:
    from ..train import failure, is_finished, write_report

    report = write_report(chosen, folder)
    seeds = len({run.recipe.seed for run in chosen.runs})
    if report.metric is not None:
        title = f"{report.metric.label}, {chosen.figure}; differences to {chosen.baseline} are paired by seed"
        rows = [_cells(each, seeds, report.metric.digits) for each in report.cases]
        console().print(table(title, _COLUMNS, rows))
    left = [run for run in chosen.runs if not is_finished(run, folder)]
    failed = [(run, reason) for run in left if (reason := failure(run, folder)) is not None]
    for run, reason in failed:
        console().print(f"{run.case} seed {run.recipe.seed} failed: {reason}")
    if len(left) > len(failed):
        console().print(f"{len(left) - len(failed)} of {len(chosen.runs)} runs are not finished")
    console().print(f"sweep folder: {folder}, with runs.csv, summary.csv and sweep.png once a run is finished")
    if failed:
        raise typer.Exit(_SOME_FAILED)


def _cells(each: CaseSummary, seeds: int, digits: int) -> Sequence[object]:
    figures = (each.mean, each.deviation, each.difference, each.difference_deviation)
    texts = (
        None if value is None else f"{value:{sign}.{digits}f}"
        for value, sign in zip(figures, ("", "", "+", ""), strict=True)
    )
    return (each.case, f"{len(each.values)}/{seeds}", *texts)
