"""A run that is killed or interrupted and resumed ends with the very weights of an uninterrupted one."""

import signal
import subprocess
import sys
import time

import pytest
import torch

from featherbit import recipes
from featherbit.train import fit, load_model
from featherbit.train._run_folder import checkpoint_path, read_checkpoint, write_atomically

# dropout and stochastic signs draw random numbers at every step, so a random state that is not restored would show
OVERRIDES = ("epochs=14", "model.hidden_dropout=0.2", "model.activation=stochastic_sign", "precision=bf16-mixed")
# a shell's background job, and all it starts, ignores SIGINT: the script asks for Python's own handling again
SCRIPT = """
import signal
import sys
from featherbit import recipes, train
signal.signal(signal.SIGINT, signal.default_int_handler)
train.fit(recipes.load("digits-mlp", sys.argv[2:], smoke=True), sys.argv[1], progress=False)
"""


@pytest.fixture(scope="module")
def recipe():
    return recipes.load("digits-mlp", OVERRIDES, smoke=True)


@pytest.fixture(scope="module")
def uninterrupted(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    fit(recipe, folder, progress=False)
    return folder


def epochs_done(folder):
    path = folder / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def start_and_send(signal_number, folder, *, after_epochs):
    """Train in a process of its own and send it a signal once some epochs are done."""
    command = [sys.executable, "-c", SCRIPT, str(folder), *OVERRIDES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while epochs_done(folder) < after_epochs and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal_number)
        _, errors = process.communicate(timeout=300)
    return process.returncode, errors


def assert_same_run(folder, other):
    for which in ("last", "selected"):
        one, two = (read_checkpoint(checkpoint_path(f, which))["state_dict"] for f in (folder, other))
        assert one.keys() == two.keys()
        assert [key for key in one if not torch.equal(one[key], two[key])] == []
    rows = [[line.rpartition(",")[0] for line in (f / "metrics.csv").read_text().splitlines()] for f in (folder, other)]
    assert rows[0] == rows[1]  # all columns but the seconds


@pytest.mark.parametrize("after_epochs", [1, 6])
def test_a_killed_run_resumes_to_the_same_weights(recipe, uninterrupted, tmp_path, after_epochs):
    status, _ = start_and_send(signal.SIGKILL, tmp_path, after_epochs=after_epochs)
    assert status == -signal.SIGKILL
    assert after_epochs <= epochs_done(tmp_path) < recipe.epochs
    fit(recipe, tmp_path, progress=False)
    assert_same_run(tmp_path, uninterrupted)


def test_ctrl_c_says_how_to_resume_and_resuming_gives_the_same_weights(recipe, uninterrupted, tmp_path):
    status, errors = start_and_send(signal.SIGINT, tmp_path, after_epochs=4)
    assert status == 130
    assert f"run folder {tmp_path} to resume" in errors
    assert "Traceback" not in errors
    assert epochs_done(tmp_path) < recipe.epochs
    fit(recipe, tmp_path, progress=False)
    assert_same_run(tmp_path, uninterrupted)


def test_a_run_killed_before_its_result_is_measured_does_not_train_again(recipe, uninterrupted, tmp_path):
    fit(recipe, tmp_path, progress=False)
    (tmp_path / "result.json").unlink()
    result = fit(recipe, tmp_path, progress=False)
    assert result.last.epoch == recipe.epochs - 1
    assert_same_run(tmp_path, uninterrupted)


def test_a_run_without_a_checkpoint_starts_from_the_beginning(recipe, uninterrupted, tmp_path):
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    fit(recipe, tmp_path, progress=False)
    assert_same_run(tmp_path, uninterrupted)


def test_different_seeds_would_have_been_told_apart(recipe, uninterrupted, tmp_path):
    fit(recipe.model_copy(update={"seed": 1}), tmp_path, progress=False)
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path, uninterrupted)
    assert not torch.equal(load_model(tmp_path).linear1.weight, load_model(uninterrupted).linear1.weight)


def test_a_writer_that_fails_halfway_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"ne")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    write_atomically(path, lambda file: file.write(b"new"))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"new"
