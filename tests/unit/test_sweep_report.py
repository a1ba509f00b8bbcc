"""The report of a sweep: its arithmetic against figures worked out by hand, its files, its pictures."""

import csv
import json

import pytest
from matplotlib.figure import Figure

from featherbit import recipes, train
from featherbit.recipes import load_sweep
from featherbit.train import write_report

CASES = 'recipe = "digits-mlp"\nseeds = [0, 1, 2]\n[cases.base]\n[cases.other]\nepochs = 7\n[cases.none]\nepochs = 9\n'
# Test accuracies by case and seed, at the last and the selected epoch. By hand, last:
# base: mean 92, squared deviations 4 + 0 + 4, so variance 8 / 2 and deviation 2.
# other lacks seed 2: mean 94.5, deviation sqrt(0.5); differences +5 and +2, mean 3.5, deviation sqrt(4.5).
LAST = {("base", 0): 90.0, ("base", 1): 92.0, ("base", 2): 94.0, ("other", 0): 95.0, ("other", 1): 94.0}


@pytest.fixture
def sweep(tmp_path):
    path = tmp_path / "made.toml"
    path.write_text(CASES)
    return load_sweep(path)


def write_results(sweep, out, last, metric="accuracy"):
    for run in sweep.runs:
        if (value := last.get((run.case, run.recipe.seed))) is None:
            continue
        result = {
            "recipe": run.recipe.name,
            "seed": run.recipe.seed,
            "epochs": run.recipe.epochs,
            "last": {"epoch": run.recipe.epochs - 1, "train": 99.0, "validation": value - 1, "test": value},
            "selected": {"epoch": 3, "train": 98.0, "validation": value, "test": value + 0.5},
            "metric": metric,
            "seconds": 1.5,
            "threads": 1,
            "precision": "32-true",
            "machine": {"cpu": "a machine"},
            "source": {"commit": "abc", "dirty": False},
        }
        folder = run.folder(out)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result))


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_means_deviations_and_paired_differences_are_those_worked_out_by_hand(sweep, tmp_path):
    write_results(sweep, tmp_path / "out", LAST)
    base, other, none = write_report(sweep, tmp_path / "out").cases
    assert (base.case, base.mean, base.deviation) == ("base", 92.0, 2.0)
    assert (base.difference, base.difference_deviation) == (None, None)
    assert (other.case, other.mean, other.difference) == ("other", 94.5, 3.5)
    assert other.deviation == pytest.approx(0.5**0.5)
    assert other.difference_deviation == pytest.approx(4.5**0.5)
    assert (none.case, none.mean, none.deviation, none.difference) == ("none", None, None, None)


def test_a_single_seed_has_no_deviation(sweep, tmp_path):
    write_results(sweep, tmp_path / "out", {("base", 1): 90.0, ("other", 1): 91.0})
    _, other, _ = write_report(sweep, tmp_path / "out").cases
    assert (other.mean, other.deviation, other.difference, other.difference_deviation) == (91.0, None, 1.0, None)


def test_seeds_that_the_baseline_lacks_have_no_difference(sweep, tmp_path):
    write_results(sweep, tmp_path / "out", {("base", 0): 90.0, ("other", 0): 91.0, ("other", 2): 99.0})
    _, other, _ = write_report(sweep, tmp_path / "out").cases
    assert (other.mean, other.differences) == (95.0, (1.0,))


def test_the_runs_table_has_a_row_for_each_finished_run(sweep, tmp_path):
    write_results(sweep, tmp_path / "out", LAST)
    write_report(sweep, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "runs.csv")
    assert [(row["case"], int(row["seed"]), float(row["last.test"])) for row in rows] == [
        ("base", 0, 90.0),
        ("other", 0, 95.0),
        ("base", 1, 92.0),
        ("other", 1, 94.0),
        ("base", 2, 94.0),
    ]
    assert rows[1] == {
        "case": "other",
        "seed": "0",
        "epochs": "7",
        "metric": "accuracy",
        "last.train": "99.0",
        "last.validation": "94.0",
        "last.test": "95.0",
        "selected.train": "98.0",
        "selected.validation": "95.0",
        "selected.test": "95.5",
        "selected.epoch": "3",
        "seconds": "1.5",
        "commit": "abc",
        "machine": "a machine",
    }


def test_a_setting_that_only_some_cases_change_is_shown_for_all(tmp_path):
    path = tmp_path / "made.toml"
    path.write_text(
        'recipe = "digits-mlp"\n[cases.a]\n[cases.b]\nmodel.norm = "shift"\n'
        '[cases.c]\noptimizer = {kind = "shift_adamax", learning_rate = 1e-3, correction = "divide"}\n'
    )
    sweep = load_sweep(path)
    write_results(sweep, tmp_path / "out", {("a", 0): 1.0, ("b", 0): 2.0, ("c", 0): 3.0})
    write_report(sweep, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "runs.csv")
    assert [row["model.norm"] for row in rows] == ["batch", "shift", "batch"]
    assert [row["optimizer.kind"] for row in rows] == ["adam", "adam", "shift_adamax"]
    assert [row["optimizer.correction"] for row in rows] == ["", "", "divide"]


def test_the_summary_table_has_every_figure_of_every_case(sweep, tmp_path):
    write_results(sweep, tmp_path / "out", LAST)
    write_report(sweep, tmp_path / "out")
    base, other, none = rows_of(tmp_path / "out" / "summary.csv")
    assert [row["case"] for row in (base, other, none)] == ["base", "other", "none"]
    assert [row["seeds"] for row in (base, other, none)] == ["3", "2", "0"]
    assert (float(base["last.test"]), float(base["last.test deviation"])) == (92.0, 2.0)
    assert (float(base["selected.test"]), float(base["last.validation"])) == (92.5, 91.0)
    assert (float(other["selected.test"]), float(other["selected.test difference"])) == (95.0, 3.5)
    assert (none["last.test"], base["last.test difference"]) == ("", "")


def test_a_report_before_the_first_result_is_empty(sweep, tmp_path):
    report = write_report(sweep, tmp_path / "out")
    assert report.metric is None
    assert [each.mean for each in report.cases] == [None, None, None]
    assert not (tmp_path / "out" / "runs.csv").exists()


def test_the_metric_is_that_of_the_results(sweep, tmp_path):
    write_results(sweep, tmp_path / "out", LAST, metric="perplexity")
    report = write_report(sweep, tmp_path / "out")
    assert report.metric is not None
    assert report.metric.name == "perplexity"


@pytest.fixture
def drawn(monkeypatch):
    """Return the axes of each figure that is saved."""
    axes = []
    save = Figure.savefig

    def record(figure, *arguments, **options):
        axes.extend(figure.axes)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", record)
    return axes


def test_cases_are_rows_of_dots_with_a_mark_at_the_mean(sweep, tmp_path, drawn):
    write_results(sweep, tmp_path / "out", LAST)
    write_report(sweep, tmp_path / "out")
    assert (tmp_path / "out" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = drawn
    assert [label.get_text() for label in axes.get_yticklabels()] == ["base", "other"]
    points = {(tuple(map(float, line.get_xdata())), tuple(map(float, line.get_ydata()))) for line in axes.lines}
    assert ((90.0, 92.0, 94.0), (0.0, 0.0, 0.0)) in points
    assert ((94.5,), (1.0,)) in points


@pytest.mark.parametrize(("rates", "scale"), [("1e-3, 2e-3", "linear"), ("1e-1, 1e-3", "log")])
def test_a_grid_of_one_number_is_a_line_for_each_case(tmp_path, drawn, rates, scale):
    path = tmp_path / "made.toml"
    path.write_text(
        'recipe = "digits-mlp"\nseeds = [0, 1]\n[cases.a]\n[cases.b]\nmodel.norm = "shift"\n'
        f"[grid]\noptimizer.learning_rate = [{rates}]\n"
    )
    sweep = load_sweep(path)
    write_results(sweep, tmp_path / "out", {(run.case, run.recipe.seed): 90.0 + run.recipe.seed for run in sweep.runs})
    write_report(sweep, tmp_path / "out")
    (axes,) = drawn
    assert (axes.get_xscale(), axes.get_xlabel()) == (scale, "optimizer.learning_rate")
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert set(lines) == {"a", "b"}
    smallest, largest = sorted(float(rate) for rate in rates.split(","))
    assert [float(x) for x in lines["a"].get_xdata()] == [smallest, largest]
    assert [float(y) for y in lines["a"].get_ydata()] == [90.5, 90.5]
    assert sorted(len(line.get_xdata()) for line in axes.lines) == [2, 2, 4, 4]


def test_a_grid_of_words_is_rows_of_dots(tmp_path, drawn):
    path = tmp_path / "made.toml"
    path.write_text('recipe = "digits-mlp"\n[grid]\nmodel.norm = ["batch", "shift"]\n')
    sweep = load_sweep(path)
    write_results(sweep, tmp_path / "out", {(run.case, 0): 90.0 for run in sweep.runs})
    write_report(sweep, tmp_path / "out")
    assert [label.get_text() for label in drawn[0].get_yticklabels()] == ["norm=batch", "norm=shift"]


def test_public_names_are_there():
    assert {"run_sweep", "write_report", "is_finished", "failure"} <= set(dir(train))
    assert {"load_sweep", "sweep_names"} <= set(dir(recipes))
