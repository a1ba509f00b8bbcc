"""What a sweep found: a row for each run, a summary of each case, as CSV and as a picture.

The names of the figures are those of the runs' results, so whatever a result measures is reported. Differences to the
baseline are paired by seed: data order and first weights of two cases with the same seed are alike, which the spread of
the differences shows.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..errors import RecipeError
from ._recipe import Recipe
from ._result import read_result
from ._run_folder import write_atomically
from ._sweep import Sweep, SweepRun, is_finished

_CHECKPOINTS = ("last", "selected")
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


def run_rows(sweep: Sweep, out: str | Path) -> list[_Row]:
    """Return a row for each finished run.

    Args:
        sweep: its runs.
        out: the sweep's folder.

    Returns:
        Case, seed, each setting that any case changes, the figures of both checkpoints (`last.test`), epochs, seconds,
        commit and machine.

    Raises:
        DataError: a result is damaged.
    """
    settings = tuple(dict.fromkeys(key for run in sweep.runs for key in run.changes))
    return [_row(run, Path(out), settings) for run in sweep.runs if is_finished(run, out)]


def summarize(sweep: Sweep, rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[CaseSummary, ...]:
    """Return a summary of one figure for each case, those without a finished run too.

    Args:
        sweep: its cases and its baseline.
        rows: from `run_rows`.
        metric: a column of the rows.

    Raises:
        RecipeError: the rows have no such figure.
    """
    if rows and metric not in metrics(rows):
        raise RecipeError(f"the runs of sweep {sweep.name} have no {metric!r}; they have {', '.join(metrics(rows))}")
    values: dict[str, dict[int, float]] = {case: {} for case in sweep.cases}
    for row in rows:
        values[row["case"]][row["seed"]] = row[metric]
    base = values[sweep.baseline]
    return tuple(
        CaseSummary(case, own, tuple(own[seed] - base[seed] for seed in own if seed in base and own is not base))
        for case, own in values.items()
    )


def metrics(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the names of the figures that rows have."""
    return tuple(key for key in rows[0] if key.partition(".")[0] in _CHECKPOINTS) if rows else ()


def write_report(sweep: Sweep, out: str | Path) -> tuple[CaseSummary, ...]:
    """Write `runs.csv`, `summary.csv` and `sweep.png` from what is finished; return the summary of the sweep's figure.

    Args:
        sweep: its runs.
        out: the sweep's folder; made if missing.

    Raises:
        RecipeError: the runs do not have the sweep's figure.
        DataError: a result is damaged.
    """
    from ._sweep_plot import draw

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".lock"):  # processes that share a sweep may end at the same moment
        rows = run_rows(sweep, out)
        summaries = summarize(sweep, rows, sweep.metric)
        if rows:
            _write_csv(out / "runs.csv", rows)
            _write_csv(out / "summary.csv", _summary_rows(sweep, rows))
            draw(sweep, summaries, out / "sweep.png")
    return summaries


def _row(run: SweepRun, out: Path, settings: Sequence[str]) -> _Row:
    result = read_result(run.folder(out)).model_dump()
    figures = {f"{which}.{name}": value for which in _CHECKPOINTS for name, value in result[which].items()}
    return {
        "case": run.case,
        "seed": run.recipe.seed,
        **{key: _setting(run.recipe, key) for key in settings},
        **figures,
        "epochs": result["epochs"],
        "seconds": result["seconds"],
        "commit": result["source"]["commit"],
        "machine": result["machine"]["cpu"],
    }


def _setting(recipe: Recipe, key: str) -> Any:
    """Return a setting's value, changed or not; None where the recipe's kind of model or optimizer has none."""
    part: Any = recipe
    for name in key.split("."):
        part = getattr(part, name, None)
    return part


def _summary_rows(sweep: Sweep, rows: Sequence[_Row]) -> list[_Row]:
    table: dict[str, _Row] = {case: {"case": case} for case in sweep.cases}
    for metric in metrics(rows):
        for each in summarize(sweep, rows, metric):
            table[each.case] |= {
                "seeds": len(each.values),
                metric: each.mean,
                f"{metric} deviation": each.deviation,
                f"{metric} difference": each.difference,
                f"{metric} difference deviation": each.difference_deviation,
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
