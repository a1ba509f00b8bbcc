"""Whole sweeps: resumed after a kill, shared by two processes, not stopped by a run that fails."""

import csv
import gc
import json
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from featherbit.cli._app import app
from featherbit.errors import RecipeError
from featherbit.models import Mlp
from featherbit.recipes import load_sweep
from featherbit.train import failure, fit, is_finished, read_recipe, read_result, run_sweep

RUNNER = CliRunner()
SWEEP = """
description = "Two networks"
recipe = "digits-mlp"
seeds = [0, 1]
[cases.one]
[cases.other]
model.norm = "shift"
[smoke]
epochs = 3
"""
DIVERGING = "[cases.diverging]\noptimizer.learning_rate = 1e30\n"
# a shell's background job, and all it starts, ignores SIGINT: the script asks for Python's own handling again
SCRIPT = """
import signal
import sys
from featherbit.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["featherbit", "sweep", *sys.argv[1:]]
main()
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "tiny.toml"
        path.write_text(text)
        return path

    return write


def start(*arguments):
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition, process):
    deadline = time.monotonic() + 300
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def epochs_done(folder):
    path = folder / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def kinds(events):
    return [(event.run.case, event.run.recipe.seed, event.kind) for event in events]


def test_a_sweep_trains_every_run_and_reports_and_does_nothing_the_second_time(write, tmp_path):
    arguments = ["sweep", str(write(SWEEP)), "--smoke", "--out", str(tmp_path / "out")]
    first = RUNNER.invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert "4/4 other: digits-mlp seed 1: test" in first.stdout
    with (tmp_path / "out" / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = json.loads((tmp_path / "out" / "other" / "seed-1" / "result.json").read_text())
    assert (rows[3]["case"], rows[3]["seed"], float(rows[3]["last.test"])) == ("other", "1", stored["last"]["test"])
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"one", "other", "summary.csv", "sweep.png"}
    second = RUNNER.invoke(app, arguments)
    assert second.exit_code == 0
    assert "4/4" not in second.stdout
    assert "paired by seed" in second.stdout


def test_each_run_is_the_one_that_training_its_recipe_alone_gives(write, tmp_path):
    sweep = load_sweep(write(SWEEP), smoke=True, seeds=[1])
    assert kinds(run_sweep(sweep, tmp_path / "out")) == [
        ("one", 1, "started"),
        ("one", 1, "finished"),
        ("other", 1, "started"),
        ("other", 1, "finished"),
    ]
    run = sweep.runs[1]
    alone = fit(run.recipe, tmp_path / "alone", progress=False)
    shared = read_result(run.folder(tmp_path / "out"))
    assert (alone.last, alone.selected) == (shared.last, shared.selected)
    assert read_recipe(run.folder(tmp_path / "out")) == run.recipe


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_sweep_that_is_killed_or_interrupted_goes_on_within_its_run(write, tmp_path, number, status):
    settings = ("epochs=14", "model.hidden_dropout=0.2")
    path, out = write(SWEEP), tmp_path / "out"
    with start(path, "--smoke", "--out", out, *(f"--set={each}" for each in settings)) as process:
        wait_until(lambda: epochs_done(out / "other" / "seed-0") >= 2, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == status
    assert "Traceback" not in errors
    sweep = load_sweep(path, settings, smoke=True)
    before = (out / "other" / "seed-0" / "metrics.csv").read_text()
    assert is_finished(sweep.runs[0], out)
    assert not is_finished(sweep.runs[1], out)
    assert kinds(run_sweep(sweep, out))[:2] == [("other", 0, "started"), ("other", 0, "finished")]
    assert all(is_finished(run, out) for run in sweep.runs)
    assert (out / "other" / "seed-0" / "metrics.csv").read_text().startswith(before)


def test_two_processes_share_a_sweep_and_train_each_run_once(write, tmp_path):
    path, out = write(SWEEP), tmp_path / "out"
    sweep = load_sweep(path, ["epochs=20"], smoke=True, seeds=[0, 1, 2])
    with start(path, "--smoke", "--out", out, "--seeds", "0,1,2", "--set", "epochs=20") as process:
        wait_until(lambda: epochs_done(out / "one" / "seed-0") >= 1, process)
        here = [event for event in run_sweep(sweep, out) if event.kind == "finished"]
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    there = sum(": digits-mlp seed" in line for line in output.splitlines())
    assert len(here) + there == len(sweep.runs)
    assert min(len(here), there) >= 1
    assert [epochs_done(run.folder(out)) for run in sweep.runs] == [20] * 6


def test_a_run_that_another_process_has_is_left_to_it(write, tmp_path):
    sweep = load_sweep(write(SWEEP), smoke=True, seeds=[0])
    claimed = sweep.runs[0].folder(tmp_path)
    claimed.mkdir(parents=True)
    with FileLock(claimed / ".lock"):
        assert kinds(run_sweep(sweep, tmp_path)) == [("other", 0, "started"), ("other", 0, "finished")]
    assert kinds(run_sweep(sweep, tmp_path)) == [("one", 0, "started"), ("one", 0, "finished")]


def test_a_run_that_fails_is_reported_and_the_others_go_on(write, tmp_path):
    path = write(SWEEP.replace("[cases.one]", DIVERGING + "[cases.one]"))
    result = RUNNER.invoke(app, ["sweep", str(path), "--smoke", "--out", str(tmp_path / "out"), "--seeds", "0"])
    assert result.exit_code == 1
    assert "diverging seed 0 failed: FeatherbitError: training diverged" in result.stdout
    sweep = load_sweep(path, smoke=True, seeds=[0])
    assert [is_finished(run, tmp_path / "out") for run in sweep.runs] == [False, True, True]
    assert [event.kind for event in run_sweep(sweep, tmp_path / "out")] == ["started", "failed"]  # tried again


def test_a_failure_that_is_no_error_of_ours_keeps_its_traceback_until_the_run_succeeds(write, tmp_path, monkeypatch):
    sweep = load_sweep(write(SWEEP), smoke=True, seeds=[0])

    def broken(*_, **__):
        raise ZeroDivisionError("by\nzero")

    with monkeypatch.context() as patch:
        patch.setattr("featherbit.train._sweep.fit", broken)
        assert [event.kind for event in run_sweep(sweep, tmp_path)] == ["started", "failed"] * 2
    assert failure(sweep.runs[0], tmp_path) == "ZeroDivisionError: by zero"
    assert "Traceback" in (tmp_path / "one" / "seed-0" / "failure.txt").read_text()
    assert [event.kind for event in run_sweep(sweep, tmp_path)] == ["started", "finished"] * 2
    assert failure(sweep.runs[0], tmp_path) is None


def test_networks_of_earlier_runs_do_not_stay_in_memory(write, tmp_path):
    for event in run_sweep(load_sweep(write(SWEEP), smoke=True, seeds=[0]), tmp_path):
        alive = sum(type(each) is Mlp for each in gc.get_objects())
        assert (event.kind, alive) in (("started", 0), ("finished", 0))


def test_runs_of_another_recipe_are_refused_before_the_first_run(write, tmp_path):
    path = write(SWEEP)
    list(run_sweep(load_sweep(path, smoke=True, seeds=[1]), tmp_path / "out"))
    changed = load_sweep(path, ["batch_size=40"], smoke=True)
    with pytest.raises(RecipeError, match=r"seed-1 holds a run of another recipe; changed: batch_size: 50 -> 40"):
        next(run_sweep(changed, tmp_path / "out"))
    assert not (tmp_path / "out" / "one" / "seed-0").exists()


def test_a_report_trains_nothing_and_says_what_is_left(write, tmp_path):
    path = write(SWEEP)
    list(run_sweep(load_sweep(path, smoke=True, seeds=[0]), tmp_path / "out"))
    result = RUNNER.invoke(app, ["sweep", str(path), "--smoke", "--out", str(tmp_path / "out"), "--report"])
    assert result.exit_code == 0
    assert "2 of 4 runs are not finished" in result.stdout
    assert not (tmp_path / "out" / "one" / "seed-1").exists()


def test_the_sweeps_are_listed():
    result = RUNNER.invoke(app, ["sweep"])
    assert result.exit_code == 0
    assert "mnist-mlp-ablation" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["mnist-mlp-rate"], "did you mean 'mnist-mlp-rates'"), (["mnist-mlp-rates", "--seeds", "0,x"], "got '0,x'")],
)
def test_a_mistake_on_the_command_line_is_one_line_and_status_2(arguments, message):
    result = RUNNER.invoke(app, ["sweep", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
