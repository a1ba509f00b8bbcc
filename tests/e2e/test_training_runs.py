"""Whole training runs: every recipe's smoke run, the run folder, and reading it back."""

import csv
import json
import random

import pytest
import torch

from featherbit import recipes
from featherbit.data import digits
from featherbit.errors import DataError, FeatherbitError, RecipeError
from featherbit.train import Figures, evaluate, fit, load_model, read_recipe, read_result
from tiny_cifar import write_cifar, write_svhn
from tiny_idx import write_folder
from tiny_text import write_treebank

LEARNED = {"accuracy": 60, "perplexity": 5, "bits_per_character": 3}  # of 3 to 10 classes, 10 words, 18 characters


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished smoke run on the digits: its folder, recipe and result."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    recipe = recipes.load("digits-mlp", smoke=True)
    return folder, recipe, fit(recipe, folder, progress=False)


@pytest.mark.parametrize("name", recipes.names())
def test_the_smoke_run_of_each_recipe_learns(name, tmp_path, monkeypatch, capsys):
    folder = write_folder(tmp_path / "data", train=600, test=30, size=6)
    write_cifar(folder, images_each=80)
    write_svhn(folder, train=400, test=30)
    write_treebank(folder)
    monkeypatch.setenv("FEATHERBIT_DATA", str(folder))
    result = fit(recipes.load(name, smoke=True), tmp_path / "run", progress=True)
    merit = result.measured.merit
    assert merit(result.last.train) > merit(LEARNED[result.metric])
    printed = capsys.readouterr().out
    assert "epoch 1/2" in printed
    assert "validation-selected" in printed


def test_a_set_of_another_shape_is_trained_by_path(tmp_path):
    folder = write_folder(tmp_path / "data", train=60, size=5, classes=4)
    overrides = ("data.kind=idx", f"data.path={folder}", "data.validation_size=20", "batch_size=10")
    fit(recipes.load("digits-mlp", overrides, smoke=True), tmp_path / "run", progress=False)
    model = load_model(tmp_path / "run")
    assert model(torch.zeros(2, 5, 5, dtype=torch.uint8)).shape == (2, 4)


def test_a_run_folder_holds_what_the_documentation_says(run):
    folder, recipe, _ = run
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files >= {"recipe.json", "metrics.csv", "result.json", "checkpoints/last.ckpt", "checkpoints/selected.ckpt"}
    assert any(name.startswith("tensorboard/events") for name in files)
    assert read_recipe(folder) == recipe


def test_the_metrics_have_one_row_per_epoch(run):
    folder, recipe, result = run
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(recipe.epochs))
    assert float(rows[-1]["validation_accuracy"]) == result.last.validation
    assert float(rows[-1]["train_loss"]) > 0


def test_the_result_says_how_it_came_about(run):
    folder, recipe, result = run
    assert read_result(folder) == result
    stored = json.loads((folder / "result.json").read_text())
    assert (stored["seed"], stored["epochs"], stored["threads"]) == (0, recipe.epochs, 1)
    assert stored["machine"]["torch"] == torch.__version__
    assert set(stored["source"]) == {"commit", "dirty"}
    assert isinstance(result.selected, Figures)


def test_the_selected_epoch_is_the_first_best_on_validation(run):
    folder, _, result = run
    with (folder / "metrics.csv").open(newline="") as file:
        accuracies = [float(row["validation_accuracy"]) for row in csv.DictReader(file)]
    assert result.selected.epoch == accuracies.index(max(accuracies))
    assert result.selected.validation == max(accuracies)


def test_a_loaded_model_is_in_eval_mode_and_reproduces_the_result(run):
    folder, _, result = run
    dataset = digits()
    for which in ("last", "selected"):
        model = load_model(folder, which)
        assert not model.training
        assert evaluate(model, dataset.test.images, dataset.test.labels) == getattr(result, which).test


def test_latent_weights_stay_in_minus_one_to_one(run):
    weights = load_model(run[0]).linear1.weight
    assert weights.abs().max() <= 1
    assert weights.abs().max() > 0.9


def test_training_leaves_torchs_random_state_and_threads_alone(run, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random.seed(1)
    fit(recipes.load("digits-mlp", ["epochs=1"], smoke=True), tmp_path, progress=False)
    load_model(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_the_same_recipe_gives_the_same_weights_and_another_seed_others(run, tmp_path):
    folder, recipe, _ = run
    fit(recipe, tmp_path / "again", progress=False)
    fit(recipe.model_copy(update={"seed": 1}), tmp_path / "other", progress=False)
    first, again, other = (load_model(f).linear2.weight for f in (folder, tmp_path / "again", tmp_path / "other"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_finished_run_is_returned_and_not_run_again(run):
    folder, recipe, result = run
    before = (folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert fit(recipe, folder, progress=False) == result
    assert (folder / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_a_changed_recipe_is_refused_naming_the_changes_and_resume_false_starts_over(tmp_path):
    fit(recipes.load("digits-mlp", ["epochs=1"], smoke=True), tmp_path, progress=False)
    changed = recipes.load("digits-mlp", ["epochs=2", "optimizer.learning_rate=0.5"], smoke=True)
    with pytest.raises(RecipeError, match=r"changed: epochs: 1 -> 2; optimizer\.learning_rate: 0\.003 -> 0\.5"):
        fit(changed, tmp_path, progress=False)
    assert fit(changed, tmp_path, resume=False, progress=False).epochs == 2


def test_a_changed_description_is_no_change_of_the_computation(run):
    folder, recipe, result = run
    assert fit(recipe.model_copy(update={"description": "other words"}), folder, progress=False) == result


def test_a_batch_larger_than_the_data_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="batch_size 2000 is larger than the 1257 training images"):
        fit(recipes.load("digits-mlp", ["batch_size=2000"]), tmp_path, progress=False)


def test_a_run_that_diverges_says_so(tmp_path):
    recipe = recipes.load("digits-mlp", ["optimizer.learning_rate=1e30", "optimizer.clip=1e30"], smoke=True)
    with pytest.raises(FeatherbitError, match="the loss of epoch 1 is nan; lower optimizer"):
        fit(recipe, tmp_path, progress=False)


def test_bfloat16_products_train_and_evaluation_stays_float32(tmp_path):
    recipe = recipes.load("digits-mlp", ["precision=bf16-mixed"], smoke=True)
    result = fit(recipe, tmp_path, progress=False)
    model = load_model(tmp_path)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    dataset = digits()
    with torch.autocast("cpu", torch.bfloat16):  # evaluate must not be caught by a caller's autocast
        accuracy = evaluate(model, dataset.validation.images, dataset.validation.labels)
    assert accuracy == result.last.validation
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert float(list(csv.DictReader(file))[-1]["validation_accuracy"]) == accuracy


def test_evaluating_restores_the_mode_and_lets_the_first_of_equals_win():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3)).train()
    images = torch.zeros(4, 2, 2, dtype=torch.uint8)
    constant = torch.nn.Identity()
    constant.forward = lambda x: torch.zeros(len(x), 3)  # all scores equal
    assert evaluate(constant, images, torch.tensor([0, 0, 1, 2])) == 50.0
    assert model.training


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", b"PK\x03\x04"])
def test_a_missing_or_damaged_checkpoint_is_a_data_error(run, tmp_path, content):
    recipe = run[1]
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    if content is not None:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "last.ckpt").write_bytes(content)
    with pytest.raises(DataError, match=r"last\.ckpt"):
        load_model(tmp_path)


def test_a_folder_without_a_run_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="is not a run folder"):
        load_model(tmp_path)
    with pytest.raises(DataError, match="holds no finished run"):
        read_result(tmp_path)
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        read_recipe(tmp_path)
