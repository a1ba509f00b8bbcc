"""What a sweep found: a row for each run, a summary of each case, as CSV and as a picture.

Differences to the baseline are paired by seed: the order of the data is the same in both runs, and so are the first
weights where the networks have the same shape.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from filelock import FileLock

from ._metric import METRICS, Metric
from ._recipe import Recipe
from ._result import Result, read_result
from ._run_folder import write_atomically
from ._sweep import Figure, Sweep, SweepRun, is_finished

FIGURES: tuple[Figure, ...] = get_args(Figure)
_Row = dict[str, Any]


@dataclass(frozen=True)
class CaseSummary:
    """A figure of one case over its seeds.

    Args:
        case: its name.
        values: the figure by seed.
        differences: to the baseline's, for the seeds that both have; none for the baseline itself.
    """

    case: str
    values: Mapping[int, float]
    differences: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """Mean over the seeds; None without a finished run."""
        return _mean(tuple(self.values.values()))

    @property
    def deviation(self) -> float | None:
        """Standard deviation of a single run; None below two seeds."""
        return _deviation(tuple(self.values.values()))

    @property
    def difference(self) -> float | None:
        """Mean of the paired differences."""
        return _mean(self.differences)

    @property
    def difference_deviation(self) -> float | None:
        """Standard deviation of a single paired difference; None below two seeds."""
        return _deviation(self.differences)


@dataclass(frozen=True)
class SweepReport:
    """The cases of a sweep side by side.

    Args:
        metric: what the figures are; None before the first run is finished.
        cases: all of them, in order.
    """

    metric: Metric | None
    cases: tuple[CaseSummary, ...]


def run_rows(sweep: Sweep, out: str | Path) -> list[_Row]:
    """Return a row for each finished run.

    Args:
        sweep: its runs.
        out: the sweep's folder.

    Returns:
        Case, seed, each setting that any case changes, the figures (`last.test`) and their metric, epochs, the
        validation-selected epoch counted from 0, seconds, commit and machine.

    Raises:
        DataError: a result is damaged.
    """
    settings = tuple(dict.fromkeys(key for run in sweep.runs for key in run.changes))
    return [_row(run, Path(out), settings) for run in sweep.runs if is_finished(run, out)]


def summarize(sweep: Sweep, rows: Sequence[Mapping[str, Any]], figure: Figure) -> tuple[CaseSummary, ...]:
    """Return a summary of one figure for each case, those without a finished run too.

    Args:
        sweep: its cases and its baseline.
        rows: from `run_rows`.
        figure: a column of the rows.
    """
    values: dict[str, dict[int, float]] = {case: {} for case in sweep.cases}
    for row in rows:
        values[row["case"]][row["seed"]] = row[figure]
    base = values[sweep.baseline]
    return tuple(
        CaseSummary(case, own, tuple(own[seed] - base[seed] for seed in own if seed in base and own is not base))
        for case, own in values.items()
    )


def write_report(sweep: Sweep, out: str | Path) -> SweepReport:
    """Write `runs.csv`, `summary.csv` and `sweep.png` from the finished runs.

    Args:
        sweep: its runs.
        out: the sweep's folder; made if missing.

    Returns:
        The summary of the sweep's figure.

    Raises:
        DataError: a result is damaged.
    """
    from ._sweep_plot import draw  # which needs this module

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):  # processes that share a sweep may end at the same moment
        rows = run_rows(sweep, out)
        report = SweepReport(METRICS[rows[0]["metric"]] if rows else None, summarize(sweep, rows, sweep.figure))
        if rows:
            _write_csv(out / "runs.csv", rows)
            _write_csv(out / "summary.csv", _summary_rows(sweep, rows))
            draw(sweep, report, out / "sweep.png")
    return report


def _row(run: SweepRun, out: Path, settings: Sequence[str]) -> _Row:
    result = read_result(run.folder(out))
    return {
        "case": run.case,
        "seed": run.recipe.seed,
        **{key: _setting(run.recipe, key) for key in settings},
        "metric": result.metric,
        **{figure: _setting(result, figure) for figure in FIGURES},
        "epochs": result.epochs,
        "selected.epoch": result.selected.epoch,
        "seconds": result.seconds,
        "commit": result.source["commit"],
        "machine": result.machine["cpu"],
    }


def _setting(whole: Recipe | Result, key: str) -> Any:
    """Return what a dotted name means; None where the recipe's kind of model or optimizer has no such setting."""
    part: Any = whole
    for name in key.split("."):
        part = getattr(part, name, None)
    return part


def _summary_rows(sweep: Sweep, rows: Sequence[_Row]) -> list[_Row]:
    table: dict[str, _Row] = {case: {"case": case} for case in sweep.cases}
    for figure in FIGURES:
        for each in summarize(sweep, rows, figure):
            table[each.case] |= {
                "seeds": len(each.values),
                figure: each.mean,
                f"{figure} deviation": each.deviation,
                f"{figure} difference": each.difference,
                f"{figure} difference deviation": each.difference_deviation,
            }
    return list(table.values())


def _write_csv(path: Path, rows: Sequence[_Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _deviation(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None
