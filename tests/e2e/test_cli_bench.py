"""`featherbit bench` beyond measuring: cases by pattern, pictures from a file, peak memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from featherbit import benchmarks, ir
from featherbit.benchmarks._blueprint import convnet
from featherbit.benchmarks._packed_net import Widths, to_graph
from featherbit.cli._app import app

RUNNER = CliRunner()


def invoke(*arguments: object, expect: int = 0) -> str:
    """Return what a command prints; its exit status must be the expected one."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == expect, result.output
    return result.output


def test_pictures_are_drawn_from_a_file_without_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        benchmarks.Row(case, 1, "torch float32", 9.0, 8.0, 10.0, 1.0, 9.0, 5, "scalar", "")
        for case in ("net-w1a1-batch1", "net-w2a2-batch1")
    ]
    benchmarks.write_json(rows, tmp_path / "old.json")
    monkeypatch.setattr(benchmarks, "run_case", None)  # calling it would fail
    shown = invoke("bench", "--from", tmp_path / "old.json", "--plot", tmp_path / "plots")
    assert "net-w2a2-batch1" in shown
    assert "net-bits.png" in shown
    assert (tmp_path / "plots" / "net-bits.png").exists()
    assert "no figures" in invoke("bench", "--from", tmp_path / "none.json", expect=2)


def test_cases_are_named_by_pattern(tmp_path: Path) -> None:
    invoke("bench", "gemm-25?", "--threads", 1, "--seconds", 0, "--json", tmp_path / "b.json")
    assert {row["case"] for row in json.loads((tmp_path / "b.json").read_text())} == {"gemm-256"}
    assert "no benchmark case fits" in invoke("bench", "gemm-9*", expect=2)


def test_the_python_of_larq_reaches_the_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run_case(case: benchmarks.Case, setting: benchmarks.Setting, *_: object) -> tuple[benchmarks.Row, ...]:
        seen.append(setting.lce_python)
        return ()

    monkeypatch.setattr(benchmarks, "run_case", run_case)
    invoke("bench", "gemm-256", "--threads", 1, "--lce-python", tmp_path / "python")
    monkeypatch.setenv("FEATHERBIT_LCE_PYTHON", str(tmp_path / "other"))
    invoke("bench", "gemm-256", "--threads", 1)
    assert seen == [tmp_path / "python", tmp_path / "other"]


def test_the_peak_memory_of_a_packed_file_is_printed_and_written(tmp_path: Path) -> None:
    path, figures = tmp_path / "net.fbit", tmp_path / "memory.json"
    ir.save(to_graph(convnet(8, 16), Widths(), seed=0), path)
    shown = invoke("bench", path, "--memory", "--json", figures)
    assert "net.fbit" in shown
    (entry,) = json.loads(figures.read_text())
    assert entry["network"] == str(path)
    assert entry["beyond_bytes"] == entry["peak_bytes"] - entry["baseline_bytes"]
    assert entry["file_bytes"] == path.stat().st_size


def test_the_peak_memory_of_a_case_is_that_of_its_network() -> None:
    assert "conv-1x1-56x64-w1a1" in invoke("bench", "conv-1x1-56x64-w1a1", "--memory")
    assert "none of gemm-256 is a network" in invoke("bench", "gemm-256", "--memory", expect=2)
