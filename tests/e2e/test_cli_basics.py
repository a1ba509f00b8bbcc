"""The command line: version, lists, and what happens when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import featherbit
from featherbit import kernels, recipes, train
from featherbit.cli._app import app

RUNNER = CliRunner()


def test_it_prints_its_version() -> None:
    result = RUNNER.invoke(app, ["--version"])
    assert (result.exit_code, result.stdout.strip()) == (0, f"featherbit {featherbit.__version__}")


@pytest.mark.parametrize(
    "verb", ["train", "sweep", "evaluate", "pack", "run", "explain", "bench", "recipes", "kernels", "demo"]
)
def test_every_verb_explains_itself(verb: str) -> None:
    result = RUNNER.invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert verb in result.stdout


def test_kernels_lists_every_compiled_isa_and_the_one_in_use() -> None:
    result = RUNNER.invoke(app, ["kernels"])
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line.split()}
    assert set(kernels.compiled_isas()) <= set(lines)
    assert "in use" in lines[kernels.active_isa()]


def test_recipes_lists_every_recipe_with_its_expected_result() -> None:
    result = RUNNER.invoke(app, ["recipes"])
    assert result.exit_code == 0
    for name in recipes.names():
        assert name in result.stdout
    assert "98.60 %" in result.stdout


def test_a_recipe_is_shown_resolved_and_changed() -> None:
    result = RUNNER.invoke(app, ["recipes", "mnist-mlp-4096", "--set", "epochs=7"])
    shown = json.loads(result.stdout)
    assert (shown["epochs"], shown["model"]["hidden_features"], shown["data"]["kind"]) == (7, 4096, "mnist")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipes", "digts-mlp"], "did you mean 'digits-mlp'"),
        (["train", "digits-mlp", "--set", "epoch=3"], "did you mean 'epochs'"),
        (["evaluate", "nowhere"], "nowhere"),
        (["pack", "nowhere"], "nowhere"),
        (["explain", "nowhere.fbit"], "nowhere.fbit"),
        (["run", "nowhere.fbit", "x.png"], "nowhere.fbit"),
        (["bench", "gem-4096"], "did you mean 'gemm-4096'"),
    ],
)
def test_an_error_of_ours_is_one_line_and_status_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_an_unknown_verb_is_status_2() -> None:
    assert RUNNER.invoke(app, ["trian"]).exit_code == 2


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit", interrupted)
    result = RUNNER.invoke(app, ["train", "digits-mlp", "--run", str(tmp_path / "run")])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(train, "fit", broken)
    result = RUNNER.invoke(app, ["train", "digits-mlp", "--run", str(tmp_path / "run")])
    assert isinstance(result.exception, ZeroDivisionError)


def test_looking_at_the_kernels_does_not_import_torch() -> None:
    lines = (
        "import sys",
        "from featherbit.cli._app import app",
        "app(['kernels'], standalone_mode=False)",
        "assert 'torch' not in sys.modules",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_without_its_packages_it_says_what_to_install() -> None:
    lines = ("import sys", "sys.modules['typer'] = None", "from featherbit.cli import main", "main()")
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'featherbit[train]'")
    assert "Traceback" not in done.stderr
