"""Language models by the command line: train, pack, evaluate, score and generate."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from featherbit import train
from featherbit.cli._app import app
from featherbit.ir import reference
from featherbit.runtime import Session, Vocabulary, generate, nats_per_token
from tiny_text import write_treebank

RUNNER = CliRunner()


def invoke(*arguments: object, status: int = 0) -> str:
    """Return what a command prints on both streams; it must end with this status."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture(scope="module", params=["ptb-word-lstm", "ptb-char-rnn", "ptb-word-lstm-w2a3"])
def run_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small run on a tiny text."""
    folder = tmp_path_factory.mktemp("text")
    write_treebank(folder)
    path = folder / "run"
    setting = f"data.path={json.dumps(str(folder))}"
    invoke("train", request.param, "--smoke", "--run", path, "--quiet", "--set", setting)
    return path


@pytest.fixture(scope="module")
def packed(run_dir: Path) -> Path:
    """Return the run's packed file."""
    path = run_dir.with_name("small.fbit")
    shown = invoke("pack", run_dir, "-o", path, "--images", 60)
    assert "60 tokens of the test text in 3 streams" in shown
    return path


def _test_text(run_dir: Path) -> Path:
    return run_dir.parent / "ptb.test.txt"


def _numbers(run_dir: Path) -> list[int]:
    return train.read_recipe(run_dir).corpus().test.tolist()


def test_packing_keeps_the_vocabulary_beside_the_file(run_dir: Path, packed: Path) -> None:
    assert Vocabulary.load(packed.with_suffix(".vocabulary.json")) == train.load_vocabulary(run_dir)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_evaluation_gives_the_recorded_figure_packed_or_not(run_dir: Path, packed: Path, split: str) -> None:
    result = train.read_result(run_dir)
    shown = invoke("evaluate", run_dir, "--split", split, "--packed", packed)
    assert shown.count(result.measured.text(getattr(result.last, split))) == 2


def test_a_score_is_that_of_the_probabilities_one_by_one(run_dir: Path, packed: Path) -> None:
    graph, tokens = Session(packed).graph, _numbers(run_dir)[:50]
    state = reference.zero_states(graph, 1)
    nats = 0.0
    for now, after in itertools.pairwise(tokens):
        values = reference.run(graph, np.array([[now]], dtype=np.int32), state)
        state = {op.output: values[op.next] for op in graph.states}
        row = values[graph.output][0].tolist()
        nats -= math.log(math.exp(row[after]) / sum(map(math.exp, row)))
    assert nats_per_token(Session(packed), tokens) == pytest.approx(nats / 49, rel=1e-9)


def test_streams_are_read_side_by_side_and_nothing_is_counted_twice(packed: Path, run_dir: Path) -> None:
    session, tokens = Session(packed), _numbers(run_dir)[:32]
    parts = [nats_per_token(session, tokens[a : b + 1]) * (b - a) for a, b in ((0, 11), (11, 22), (22, 31))]
    assert nats_per_token(session, tokens, streams=3) == pytest.approx(sum(parts) / 31, rel=1e-9)
    assert nats_per_token(session, tokens[:3], streams=50) > 0


def test_scoring_a_file_shows_the_figure_and_the_rate(run_dir: Path, packed: Path) -> None:
    shown = invoke("score", packed, _test_text(run_dir))
    vocabulary = train.load_vocabulary(run_dir)
    nats = nats_per_token(Session(packed), vocabulary.encode(_test_text(run_dir).read_text(encoding="utf-8")))
    figure = math.exp(nats) if vocabulary.level == "word" else nats / math.log(2)
    assert f"{figure:.3f}" in shown
    assert f"{vocabulary.level}s a second" in shown


def test_generated_text_continues_the_prompt_and_repeats_with_its_seed(run_dir: Path, packed: Path) -> None:
    vocabulary = train.load_vocabulary(run_dir)
    prompt = vocabulary.decode([1, 2])
    first = invoke("generate", packed, prompt, "--tokens", 12, "--seed", 3)
    assert first.startswith(prompt)
    assert first == invoke("generate", packed, prompt, "--tokens", 12, "--seed", 3)
    assert len(invoke("generate", packed, "--tokens", 5)) > 1


def test_the_best_tokens_are_taken_at_temperature_zero(packed: Path, run_dir: Path) -> None:
    session = Session(packed)
    prompt = _numbers(run_dir)[:5]
    new = generate(session, prompt, temperature=0.0)
    taken = [next(new) for _ in range(6)]
    text = list(prompt)
    for token in taken:
        scores, _ = session.run_sequence(np.array(text).reshape(-1, 1, 1))
        assert token == scores[-1, 0].argmax()
        text.append(token)
    narrow = generate(session, prompt, temperature=5.0, top=1)
    assert [next(narrow) for _ in range(6)] == taken


def test_draws_follow_the_probabilities(packed: Path) -> None:
    session = Session(packed)
    scores, _ = session.step(np.array([[0]]))
    chances = np.exp(scores[0].astype(np.float64))
    chances /= chances.sum()
    drawn = [next(generate(session, [0], seed=seed)) for seed in range(600)]
    best = int(chances.argmax())
    assert abs(drawn.count(best) / 600 - chances[best]) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "{packed}", "zzz-no-word"), "is not in the vocabulary"),
        (("score", "{packed}", "{missing}"), "cannot be read as text"),
        (("score", "{packed}", "{packed}"), "cannot be read as text"),
        (("score", "{packed}", "{text}", "--vocabulary", "{text}"), "cannot be read as a vocabulary"),
        (("generate", "{missing}"), "cannot be read as a vocabulary"),
        (("run", "{packed}", "{text}"), "error"),
    ],
)
def test_mistakes_are_told_in_a_line(packed: Path, run_dir: Path, arguments: tuple[str, ...], message: str) -> None:
    places = {"packed": packed, "missing": packed.with_name("missing"), "text": _test_text(run_dir)}
    shown = invoke(*(argument.format(**places) for argument in arguments), status=2)
    assert re.search(message, shown.replace("\n", " "))


def test_a_lost_vocabulary_is_told_with_what_to_do(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "lonely.fbit"
    copy.write_bytes(packed.read_bytes())
    assert "--vocabulary" in invoke("generate", copy, status=2)
