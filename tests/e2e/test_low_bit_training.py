"""Runs with shift-based norm and optimizer, quantized gradients, logarithmic weights and a widened second stage."""

import numpy as np
import pytest
import torch

from featherbit import recipes
from featherbit.data import digits
from featherbit.errors import InputError
from featherbit.ir import reference
from featherbit.pack import pack
from featherbit.runtime import Session
from featherbit.train import fit, load_model
from featherbit.train._lightning import Classifier
from featherbit.train._run_folder import checkpoint_path, read_checkpoint

WHOLE_PAPER = (
    *("model.norm=shift", "model.gradient_bits=6", "model.weight=log", "model.weight_bits=4"),
    *("optimizer.kind=shift_adamax", "optimizer.learning_rate=0.0078125"),
    *("widening.after_epochs=2", "widening.window=2.0", "epochs=4"),
)


@pytest.fixture(scope="module")
def recipe():
    return recipes.load("digits-mlp", WHOLE_PAPER, smoke=True)


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, fit(recipe, folder, progress=False)


def test_a_network_of_every_part_learns(run):
    _, result = run
    assert result.last.train > 60


def test_it_resumes_in_its_second_stage_to_the_same_weights(recipe, run, tmp_path, monkeypatch):
    start = Classifier.on_train_epoch_start

    def stop_at_the_last(self):
        if self.current_epoch == 3:
            raise RuntimeError("the power failed")
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "on_train_epoch_start", stop_at_the_last)
        with pytest.raises(RuntimeError, match="the power failed"):
            fit(recipe, tmp_path / "run", progress=False)
    fit(recipe, tmp_path / "run", progress=False)
    one, two = (read_checkpoint(checkpoint_path(f, "last"))["state_dict"] for f in (run[0], tmp_path / "run"))
    assert one.keys() == two.keys()
    assert [key for key in one if not torch.equal(one[key], two[key])] == []


def test_the_window_is_wide_in_the_second_stage_only(recipe, tmp_path, monkeypatch):
    seen = []
    start = Classifier.on_train_epoch_start

    def record(self):
        start(self)
        seen.append((self.model.sign1.window, self.learning_rate))

    monkeypatch.setattr(Classifier, "on_train_epoch_start", record)
    fit(recipe, tmp_path / "run", progress=False)
    assert [window for window, _ in seen] == [1.0, 1.0, 2.0, 2.0]
    assert [rate == recipe.optimizer.learning_rate for _, rate in seen] == [True, False, True, False]


def test_a_network_without_a_window_is_refused_before_it_trains(tmp_path):
    settings = ("widening.after_epochs=1", "widening.window=2.0", "model.activation=hardtanh")
    with pytest.raises(InputError, match="no activation quantizer of the model has a window"):
        fit(recipes.load("digits-mlp", settings, smoke=True), tmp_path / "run", progress=False)


def test_quantized_gradients_train_in_bfloat16(tmp_path):
    settings = ("precision=bf16-mixed", "model.gradient_bits=6", "model.gradient_scale=sample", "model.norm=shift")
    result = fit(recipes.load("digits-mlp", settings, smoke=True), tmp_path / "run", progress=False)
    assert result.last.train > 60


def test_a_loaded_network_computes_what_was_evaluated(run):
    model = load_model(run[0])
    x = torch.randint(0, 256, (7, 8, 8), dtype=torch.uint8)
    assert torch.equal(model(x), model(x))
    weights = model.linear2.quantized_weight.abs().unique()
    assert set(weights.tolist()) <= {0.0, *(2.0**-e for e in range(7))}


def test_it_packs_and_runs_bit_exactly(run):
    model = load_model(run[0])
    x = digits().test.images
    with torch.no_grad():
        expected = model(x).numpy()
    graph = pack(model, x)
    assert np.array_equal(Session(graph).run(x.numpy()), expected)
    assert np.array_equal(reference.run(graph, x.numpy())[graph.output], expected)
