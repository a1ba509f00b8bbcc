"""Whole runs of language models: what they learn, leave behind and refuse, and that they resume exactly."""

import csv
import math

import pytest
import torch
from typer.testing import CliRunner

from featherbit import recipes
from featherbit.cli._app import app
from featherbit.errors import DataError, RecipeError
from featherbit.train import fit, load_model, load_vocabulary, nats_per_token, read_recipe, read_result
from featherbit.train._language import LanguageTraining
from featherbit.train._lightning import TrainingModule
from featherbit.train._run_folder import checkpoint_path, read_checkpoint
from tiny_text import write_treebank

DROPOUT = "model.dropout=0.2"  # draws random numbers at every step, so a random state that is not restored would show


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_treebank(tmp_path_factory.mktemp("data"))


def recipe_of(data, *overrides, name="ptb-word-lstm"):
    return recipes.load(name, [f"data.path={data}", DROPOUT, *overrides], smoke=True)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A finished smoke run: its folder, recipe and result."""
    folder = tmp_path_factory.mktemp("runs") / "words"
    recipe = recipe_of(data, "epochs=3")
    return folder, recipe, fit(recipe, folder, progress=False)


def rows_of(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_language_model_learns_a_grammar(run):
    _, _, result = run
    assert result.metric == "perplexity"
    assert 1.3 < result.last.test < 4  # ten words; knowing the one before leaves about 1.6


def test_the_metrics_are_perplexities_and_the_selected_epoch_has_the_least(run):
    folder, recipe, result = run
    rows = rows_of(folder)
    values = [float(row["validation_perplexity"]) for row in rows]
    assert len(values) == recipe.epochs
    assert result.selected.epoch == values.index(min(values))
    assert result.selected.validation == min(values)
    assert float(rows[0]["train_perplexity"]) == pytest.approx(math.exp(float(rows[0]["train_loss"])), rel=1e-6)


def test_the_result_is_that_of_the_loaded_model(run):
    folder, recipe, result = run
    assert read_result(folder) == result
    assert read_recipe(folder) == recipe
    corpus = recipe.corpus()
    assert math.exp(nats_per_token(load_model(folder), corpus.test)) == result.last.test
    assert load_vocabulary(folder) == corpus.vocabulary


def test_characters_are_measured_in_bits(data, tmp_path, capsys):
    result = fit(recipe_of(data, name="ptb-char-rnn"), tmp_path, progress=True)
    assert result.metric == "bits_per_character"
    assert 0.2 < result.last.test < math.log2(18)  # the text has 18 characters
    printed = capsys.readouterr().out
    assert f"test bits per character {result.last.test:.3f} at the last epoch" in printed
    assert "epoch 2/2" in printed
    assert "%" not in printed


def test_a_text_of_ones_own_is_trained_by_path(data, tmp_path):
    overrides = ["data.kind=text", f"data.path={data / 'ptb.train.txt'}", "data.level=character", "epochs=1"]
    fit(recipes.load("ptb-char-rnn", overrides, smoke=True), tmp_path, progress=False)
    assert load_vocabulary(tmp_path).level == "character"


@pytest.mark.parametrize(
    ("name", "precision"),
    [("ptb-word-lstm", "bf16-mixed"), ("ptb-char-rnn", "bf16-mixed"), ("ptb-word-lstm", "32-true")],
)
def test_an_interrupted_run_resumes_to_the_same_weights(data, tmp_path, monkeypatch, name, precision):
    recipe = recipe_of(data, "epochs=3", f"precision={precision}", "model.activation=lsq", name=name)
    fit(recipe, tmp_path / "whole", progress=False)
    start = TrainingModule.on_train_epoch_start

    def stop_at_the_third(self):
        if self.current_epoch == 2:
            raise RuntimeError("the power failed")
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "on_train_epoch_start", stop_at_the_third)
        with pytest.raises(RuntimeError, match="the power failed"):
            fit(recipe, tmp_path / "broken", progress=False)
    torch.manual_seed(99)  # the state of another process
    fit(recipe, tmp_path / "broken", progress=False)
    for which in ("last", "selected"):
        one, two = (read_checkpoint(checkpoint_path(tmp_path / f, which))["state_dict"] for f in ("whole", "broken"))
        assert one.keys() == two.keys()
        assert [key for key in one if not torch.equal(one[key], two[key])] == []
    columns = [[{**row, "seconds": 0} for row in rows_of(tmp_path / f)] for f in ("whole", "broken")]
    assert columns[0] == columns[1]


def test_the_state_is_carried_through_an_epoch_and_starts_anew(data, tmp_path, monkeypatch):
    given, step = [], LanguageTraining.training_step

    def record(self, batch, index):
        given.append((self.current_epoch, index, self._state))
        return step(self, batch, index)

    monkeypatch.setattr(LanguageTraining, "training_step", record)
    fit(recipe_of(data), tmp_path, progress=False)
    assert {epoch for epoch, _, _ in given} == {0, 1}
    for _, index, state in given:
        assert (state is None) == (index == 0)
        assert state is None or all(not part.requires_grad and part.abs().sum() > 0 for part in state)


def test_the_gradients_norm_is_clipped(data, tmp_path, monkeypatch):
    norms, step = [], torch.optim.SGD.step

    def record(self, *arguments):
        parameters = [p for group in self.param_groups for p in group["params"]]
        norms.append(torch.stack([p.grad.norm() for p in parameters]).norm().item())
        return step(self, *arguments)

    def train(clip, folder):
        norms.clear()
        overrides = ("optimizer.kind=sgd", "optimizer.learning_rate=0.1", "epochs=1", f"optimizer.gradient_clip={clip}")
        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.SGD, "step", lambda self, closure=None: (closure(), record(self))[1])
            fit(recipe_of(data, *overrides), folder, progress=False)
        return max(norms)

    assert train(0.01, tmp_path / "clipped") <= 0.01 * (1 + 1e-5)
    assert train(100.0, tmp_path / "free") > 0.05


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "ptb-word-lstm",
            ["data.kind=digits"],
            r"data\.kind digits is images, for another model\.kind; .* is language",
        ),
        ("digits-mlp", ["data.kind=penn_treebank"], r"data\.kind penn_treebank is text, for model\.kind language"),
        ("ptb-word-lstm", ["augmentation.flip=true"], "augmentation and channels_last are for images"),
        ("ptb-word-lstm", ["channels_last=true"], "augmentation and channels_last are for images"),
        ("ptb-word-lstm", ["model.cell=gru"], r"model\.cell: .*got 'gru'"),
        ("ptb-word-lstm", ["data.sequence_length=0"], r"data\.sequence_length"),
        ("ptb-word-lstm", ["optimizer.gradient_clip=0"], r"optimizer\.gradient_clip"),
        ("digits-mlp", ["data.sequence_length=5"], r"data\.sequence_length is a setting of another data\.kind"),
    ],
)
def test_impossible_recipes_are_refused(name, overrides, message):
    with pytest.raises(RecipeError, match=message):
        recipes.load(name, overrides)


def test_more_streams_than_tokens_are_refused(data, tmp_path):
    with pytest.raises(RecipeError, match=r"batch_size 5000 is too large for the \d+ training tokens"):
        fit(recipe_of(data, "batch_size=5000"), tmp_path, progress=False)


def test_text_is_no_images_and_images_have_no_vocabulary(data, tmp_path):
    with pytest.raises(RecipeError, match=r"ptb-word-lstm is about text, data\.kind penn_treebank; images are needed"):
        recipe_of(data).images()
    digits = recipes.load("digits-mlp", ["epochs=1"], smoke=True)
    with pytest.raises(RecipeError, match=r"digits-mlp is about images, data\.kind digits; text is needed here"):
        digits.corpus()
    fit(digits, tmp_path, progress=False)
    with pytest.raises(DataError, match="has no vocabulary: its model was trained on images"):
        load_vocabulary(tmp_path)


def test_the_command_line_trains_and_evaluates(data, run):
    folder, _, result = run
    settings = ["epochs=3", f"data.path={data}", DROPOUT]
    arguments = [word for setting in settings for word in ("--set", setting)]
    shown = CliRunner().invoke(app, ["train", "ptb-word-lstm", "--smoke", "--run", str(folder), *arguments])
    assert shown.exit_code == 0, shown.output
    assert "perplexity" in shown.stdout
    assert f"{result.last.test:.2f}" in shown.stdout
    for split in ("train", "validation", "test"):
        shown = CliRunner().invoke(app, ["evaluate", str(folder), "--split", split])
        assert f"{getattr(result.last, split):.2f}" in shown.stdout
        assert f"{split} split, " in shown.stdout
    refused = CliRunner().invoke(app, ["evaluate", str(folder), "--packed", "x.fbit"])
    assert refused.exit_code == 2
    assert "x.fbit" in refused.stderr
