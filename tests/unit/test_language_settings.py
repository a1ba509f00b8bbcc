"""Recipes of language models build the network and the optimizer that they name."""

import math

import pytest
import torch

from featherbit import recipes
from featherbit.errors import InputError
from featherbit.layers import QuantLSTM, QuantRNN
from featherbit.models._dropped import Dropped
from featherbit.quantizers import GradientQuant, Identity, LinearQuant, Lsq, UnsignedQuant


def build(*overrides, name="ptb-word-lstm"):
    return recipes.load(name, overrides).model.build(20)


def test_the_papers_network_is_an_lstm_of_300_units_for_words():
    model = build()
    assert isinstance(model.recurrent, QuantLSTM)
    assert (model.embedding.weight.shape, model.scores.weight.shape) == ((20, 300), (20, 300))
    assert isinstance(model.scores.input_quantizer, Dropped)
    assert (model.scores.input_quantizer.quantizer.bits, model.scores.weight_quantizer.bits) == (4, 4)


def test_the_papers_character_network_has_2048_units_with_relus():
    settings = recipes.load("ptb-char-rnn-2048").model
    assert (settings.cell, settings.nonlinearity, settings.hidden_features) == ("rnn", "relu", 2048)
    assert isinstance(build("model.hidden_features=8", name="ptb-char-rnn-2048").recurrent, QuantRNN)


@pytest.mark.parametrize("name", ["ptb-word-lstm", "ptb-char-rnn"])
def test_the_variants_differ_from_their_parent_in_quantizers_alone(name):
    parent = recipes.load(name)
    for variant in [each for each in recipes.names() if each.startswith(f"{name}-") and "2048" not in each]:
        recipe = recipes.load(variant)
        quantizers = {"weight": 0, "activation": 0, "weight_bits": 0, "activation_bits": 0}
        assert recipe.model.model_dump() | quantizers == parent.model.model_dump() | quantizers
        same = ("data", "optimizer", "schedule", "batch_size", "epochs", "seed", "precision")
        assert all(getattr(recipe, each) == getattr(parent, each) for each in same)


@pytest.mark.parametrize(
    ("settings", "kind", "low", "step"),
    [
        (("model.cell=lstm",), Lsq, -8, 0.125),
        (("model.cell=rnn",), Lsq, -8, 0.125),
        (("model.cell=rnn", "model.nonlinearity=relu"), Lsq, 0, 2 * math.sqrt(2 / math.pi / 15)),
    ],
)
def test_a_learned_step_starts_where_the_cells_states_are(settings, kind, low, step):
    model = build("model.activation=lsq", *settings)
    quantizer = model.recurrent.cells[0].hidden_product.input_quantizer
    assert (type(quantizer), quantizer.low, quantizer.step.item()) == (kind, low, pytest.approx(step))


@pytest.mark.parametrize(
    ("kind", "expected"), [("linear", LinearQuant), ("unsigned", UnsignedQuant), ("float", Identity)]
)
def test_activations_are_quantized_as_named(kind, expected):
    assert type(build(f"model.activation={kind}").recurrent.cells[0].hidden_product.input_quantizer) is expected


def test_codes_from_zero_on_are_for_states_and_embeddings_keep_both_signs():
    model = build("model.activation=lsq", "model.layers=2", "model.activation_bits=3", name="ptb-char-rnn")
    first, second = (cell.input_product.input_quantizer for cell in model.recurrent.cells)
    assert (type(first), first.bits) == (LinearQuant, 3)
    assert (type(second), second.low) == (Lsq, 0)
    signed = build("model.activation=lsq", "model.dropout=0").recurrent.cells[0].input_product.input_quantizer
    assert (type(signed), signed.low) == (Lsq, -8)


def test_gradients_are_quantized_as_named():
    cell = build("model.gradient_bits=6").recurrent.cells[0]
    assert isinstance(cell.hidden_product.gradient_quantizer, GradientQuant)


def test_a_first_step_must_be_positive_and_is_where_the_step_starts():
    assert Lsq(4, first_step=0.25).scale.item() == 0.25
    with pytest.raises(InputError, match=r"first_step must be positive, got 0\.0"):
        Lsq(4, first_step=0.0)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_plain_gradient_descent_follows_its_formula(momentum):
    overrides = ("optimizer.kind=sgd", "optimizer.learning_rate=0.5", f"optimizer.momentum={momentum}")
    settings = recipes.load("ptb-word-lstm", overrides, smoke=True).optimizer
    layer = torch.nn.Linear(1, 1, bias=False)
    optimizer = settings.build(layer)
    weight, velocity = layer.weight.item(), 0.0
    for gradient in (1.0, -3.0, 0.5):
        layer.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        velocity = momentum * velocity + gradient
        weight -= 0.5 * velocity
    assert layer.weight.item() == pytest.approx(weight, rel=1e-6)
