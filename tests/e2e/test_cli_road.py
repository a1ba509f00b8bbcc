"""The whole road by the command line: train, evaluate, pack, explain, run, measure, demonstrate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from featherbit import benchmarks, train
from featherbit.cli._app import app
from featherbit.runtime import Session

RUNNER = CliRunner()


def invoke(*arguments: object) -> str:
    """Return what a command prints; it must succeed."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small run on digits."""
    path = tmp_path_factory.mktemp("cli") / "run"
    invoke("train", "digits-mlp", "--smoke", "--run", path, "--quiet")
    return path


@pytest.fixture(scope="module")
def packed(run_dir: Path) -> Path:
    """Return the run's packed file."""
    path = run_dir.with_name("digits.fbit")
    invoke("pack", run_dir, "-o", path)
    return path


def test_training_shows_accuracies_and_what_to_do_next(run_dir: Path) -> None:
    shown = invoke("train", "digits-mlp", "--smoke", "--run", run_dir)  # finished: returns at once
    assert f"featherbit pack {run_dir}" in shown
    assert f"{train.read_result(run_dir).last.test:.2f} %" in shown


def test_another_recipe_does_not_overwrite_a_run(run_dir: Path) -> None:
    result = RUNNER.invoke(app, ["train", "digits-mlp", "--smoke", "--run", str(run_dir), "--set", "epochs=3"])
    assert result.exit_code == 2
    assert "epochs: 2 -> 3" in result.stderr


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_evaluation_gives_the_recorded_accuracy_packed_or_not(run_dir: Path, packed: Path, split: str) -> None:
    shown = invoke("evaluate", run_dir, "--split", split, "--packed", packed)
    assert shown.count(f"{getattr(train.read_result(run_dir).last, split):.2f} %") == 2


def test_packing_shows_layers_agreement_and_sizes(run_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.fbit"
    shown = invoke("pack", run_dir, "-o", path, "--which", "selected", "--images", 50)
    assert "linear1" in shown
    assert "different" in shown
    assert "times smaller than" in shown
    assert path.exists()


def test_explain_prints_one_line_per_layer_and_the_totals(packed: Path) -> None:
    lines = invoke("explain", packed).splitlines()
    for layer in Session(packed).explain():
        shown = (layer.layer, f"{layer.operations:,}", layer.kernel)
        assert any(all(part in line for part in shown) for line in lines)
    assert any(line.strip().startswith("total") for line in lines)


def test_run_classifies_pictures_and_arrays_as_the_session_does(run_dir: Path, packed: Path, tmp_path: Path) -> None:
    images = train.read_recipe(run_dir).data.load().test.images[:5].numpy()
    Image.fromarray(images[0]).save(tmp_path / "one.png")
    np.save(tmp_path / "five.npy", images)
    records = json.loads(invoke("run", packed, tmp_path / "one.png", tmp_path / "five.npy", "--json"))
    expected = Session(packed).run(images[[0, 0, 1, 2, 3, 4]])
    assert [record["index"] for record in records] == [0, 0, 1, 2, 3, 4]
    assert [record["file"] for record in records] == [str(tmp_path / "one.png")] + [str(tmp_path / "five.npy")] * 5
    assert [record["class"] for record in records] == expected.argmax(axis=1).tolist()
    assert [record["scores"] for record in records] == expected.tolist()
    for record in records:
        second, first = sorted(record["scores"])[-2:]
        assert record["score"] == first
        assert record["margin"] == pytest.approx(first - second, rel=1e-6)  # float32 against float64


def test_run_prints_a_table_and_cuts_a_long_one(run_dir: Path, packed: Path, tmp_path: Path) -> None:
    images = train.read_recipe(run_dir).data.load().test.images[:50].numpy()
    np.save(tmp_path / "many.npy", images)
    shown = invoke("run", packed, tmp_path / "many.npy", "--threads", 2)
    assert "and 10 more" in shown


def test_a_picture_of_the_wrong_size_is_refused_unless_resizing_is_asked(packed: Path, tmp_path: Path) -> None:
    Image.new("L", (30, 20)).save(tmp_path / "big.png")
    result = RUNNER.invoke(app, ["run", str(packed), str(tmp_path / "big.png")])
    assert result.exit_code == 2
    assert "the network takes 8 x 8" in result.stderr
    assert len(json.loads(invoke("run", packed, tmp_path / "big.png", "--resize", "--json"))) == 1


def test_bench_lists_its_cases() -> None:
    shown = invoke("bench", "--list")
    for name in benchmarks.cases():
        assert name in shown


def test_bench_measures_a_case_and_writes_json(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    shown = invoke("bench", "gemm-256", "--threads", 1, "--seconds", 0, "--json", path)
    rows = json.loads(path.read_text())
    assert {row["peer"] for row in rows} >= {"torch float32", "torch int8"}
    for row in rows:
        assert (row["case"], row["threads"]) == ("gemm-256", 1)
        assert row["ratio"] > 0
    assert "torch int8" in shown


def test_the_demo_goes_through_and_leaves_a_file_and_a_picture(tmp_path: Path) -> None:
    shown = invoke("demo", "--smoke", "--out", tmp_path)
    for row in ("accuracy on 360 test images", "numbers that differ", "bytes on disk", "one image", "360 images"):
        assert row in shown
    assert Session(tmp_path / "digits-mlp.fbit").input_shape == (8, 8)
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.size[0] > 500
