"""larq compute engine as a peer: the protocol with its worker, and what is said when it is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from featherbit.benchmarks import Budget, Peer, _larq, compare
from featherbit.benchmarks._blueprint import convnet

FAKE = Path(__file__).parents[1] / "fake_larq_worker.py"
PYTHON = Path(sys.executable)
BLUEPRINT = convnet(8, 16)


def peers(batch: int = 1, threads: int = 2) -> tuple[Peer, ...]:
    """Return the peers that the fake worker makes."""
    return _larq.peers(BLUEPRINT, batch, threads, PYTHON, FAKE)


def test_the_worker_builds_what_it_is_told_and_times_itself() -> None:
    default, fastest = peers()
    assert (default.name, default.note) == ("larq-compute-engine", f"{len(BLUEPRINT.layers)} layers")
    assert (fastest.name, fastest.note) == ("larq-compute-engine fastest", "threads: 2")
    assert isinstance(default.call, _larq.TimedByWorker)
    assert default.call.seconds(3) == pytest.approx(0.06)
    assert isinstance(fastest.call, _larq.TimedByWorker)
    assert fastest.call.seconds(4) == pytest.approx(0.02)


def test_its_own_clock_counts_in_a_comparison() -> None:
    default, fastest = peers()
    assert default.call is not None
    assert fastest.call is not None
    calls = {"default": default.call, "fastest": fastest.call}
    budget = Budget(seconds=0.0, block_ms=0.0, least_rounds=2, most_rounds=2, pause_ms=0.0)
    results = compare(lambda: sum(range(100)), calls, budget)
    assert results["default"].peer_ms == pytest.approx(20.0)
    assert results["fastest"].peer_ms == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (13, "the worker failed: ValueError: unlucky"),
        (15, "no answer to 'build' (the end)"),
        (16, "no answer to 'build'"),
    ],
)
def test_a_worker_that_fails_makes_a_missing_peer(batch: int, reason: str) -> None:
    (peer,) = peers(batch)
    assert peer.call is None
    assert reason in peer.note
    assert "make lce" in peer.note


def test_a_worker_that_does_not_answer_is_given_up() -> None:
    worker = _larq.Worker([sys.executable, "-u", str(FAKE)], timeout_s=0.2)
    with pytest.raises(_larq.WorkerError, match=r"no answer to 'build'"):
        worker.ask(command="build", blueprint=BLUEPRINT.as_json(), batch=14, threads=1)
    worker._process.kill()
    worker.close()


def test_a_closed_worker_has_ended() -> None:
    worker = _larq.Worker([sys.executable, "-u", str(FAKE)])
    worker.ask(command="time", which="default", count=1)
    worker.close()
    assert worker._process.returncode == 0


def test_no_environment_is_a_missing_peer_that_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_larq.PYTHON_VARIABLE, raising=False)
    (peer,) = _larq.peers(BLUEPRINT, 1, 1)
    assert (peer.name, peer.call) == ("larq-compute-engine", None)
    assert "make lce" in peer.note


def test_the_environment_can_come_from_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(_larq.PYTHON_VARIABLE, str(tmp_path / "nowhere" / "python"))
    (peer,) = _larq.peers(BLUEPRINT, 1, 1)
    assert "cannot start" in peer.note
    monkeypatch.setenv(_larq.PYTHON_VARIABLE, sys.executable)
    (peer, _) = _larq.peers(BLUEPRINT, 1, 1, worker=FAKE)
    assert peer.call is not None


def test_the_real_worker_answers_errors_as_the_protocol_says() -> None:
    requests = [{"command": "time", "which": "default", "count": 1}, {"command": "dance"}, {"no": "command"}]
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([sys.executable, str(_larq.WORKER)], input=lines, capture_output=True, text=True, timeout=60)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(answer) for answer in answers] == [["error"]] * 3
    assert "cannot answer" in answers[0]["error"]
    assert done.returncode == 0


def test_a_python_without_larq_is_a_missing_peer_that_names_the_module(tmp_path: Path) -> None:
    hidden = tmp_path / "python"
    hidden.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n', encoding="utf-8")  # no packages at all
    hidden.chmod(0o755)
    (peer,) = _larq.peers(BLUEPRINT, 1, 1, hidden)
    assert peer.call is None
    assert "No module named" in peer.note
