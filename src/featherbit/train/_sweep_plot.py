"""The picture of a sweep: lines over a numeric setting of a grid, else a row of dots for each case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._sweep import Sweep
from ._sweep_report import CaseSummary, SweepReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DOTS = 120
_ROW_INCHES, _WIDTH_INCHES, _LINES_HEIGHT = 0.28, 7.0, 4.5
_WIDE_RANGE = 8  # a setting whose values are further apart has a logarithmic axis
_Lines = dict[str, list[tuple[float, CaseSummary]]]


def draw(sweep: Sweep, report: SweepReport, path: Path) -> None:
    """Draw each case's mean, and its seeds as dots.

    Args:
        sweep: its cases and its figure.
        report: of at least one finished run; cases without one are passed over.
        path: a `.png`.
    """
    from matplotlib.figure import Figure

    done = [each for each in report.cases if each.values]
    assert report.metric is not None, "there is a finished run"
    label = f"{report.metric.label}, {sweep.figure}"
    setting, lines = _lines(sweep, done)
    height = _LINES_HEIGHT if lines else 1.2 + _ROW_INCHES * len(done)
    figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    axes = figure.add_subplot(title=sweep.name)
    if lines:
        _draw_lines(axes, lines)
        axes.set(xlabel=setting, ylabel=label)
    else:
        _draw_rows(axes, done, sweep)
        axes.set(xlabel=label)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=_DOTS)


def _lines(sweep: Sweep, summaries: Sequence[CaseSummary]) -> tuple[str, _Lines]:
    """Return the one numeric setting of the grid and a line for each named case; no lines where that does not fit."""
    points = {run.case: run.point for run in sweep.runs}
    settings = {key for point in points.values() for key in point}
    values = [value for point in points.values() for value in point.values()]
    if len(settings) != 1 or not all(isinstance(value, int | float) for value in values):
        return "", {}
    lines: _Lines = {}
    for each in summaries:
        name = each.case.rpartition(",")[0]  # what stands before the grid's value
        lines.setdefault(name, []).append((next(iter(points[each.case].values())), each))
    return settings.pop(), lines


def _draw_lines(axes: Axes, lines: _Lines) -> None:
    for name, points in lines.items():
        points.sort(key=lambda point: point[0])
        (line,) = axes.plot(*_xy((x, each.mean) for x, each in points), label=name)
        dots = _xy((x, value) for x, each in points for value in each.values.values())
        axes.plot(*dots, "o", color=line.get_color(), markersize=4)
    places = [x for points in lines.values() for x, _ in points]
    if min(places) > 0 and max(places) / min(places) > _WIDE_RANGE:
        axes.set_xscale("log")
    if any(lines):
        axes.legend()


def _draw_rows(axes: Axes, summaries: Sequence[CaseSummary], sweep: Sweep) -> None:
    for row, each in enumerate(summaries):
        axes.plot(list(each.values.values()), [row] * len(each.values), "o", color="tab:blue", markersize=4, alpha=0.6)
        assert each.mean is not None, "cases without a finished run are passed over"
        axes.plot([each.mean], [row], "|", color="black", markersize=14)
        if each.case == sweep.baseline:
            axes.axvline(each.mean, color="gray", linewidth=0.8)
    axes.set_yticks(range(len(summaries)), [each.case for each in summaries])
    axes.invert_yaxis()  # the first case on top


def _xy(points: Any) -> tuple[list[float], list[float]]:
    x, y = zip(*points, strict=True)
    return list(x), list(y)
