"""Models by recipe: each kind builds its network, impossible combinations are refused."""

import pytest
from torch import nn

from featherbit import recipes
from featherbit.errors import RecipeError
from featherbit.models import ConvNet, ResNet, VggSmall
from featherbit.quantizers import (
    DorefaActivation,
    DorefaWeight,
    Identity,
    LinearQuant,
    Lsq,
    Polynomial,
    Sign,
    StochasticSign,
    StraightThrough,
    Swish,
    Ternary,
    UnsignedQuant,
)

NARROW = "cifar10-convnet-narrow"


def build(*overrides, name=NARROW):
    return recipes.load(name, overrides, smoke=True).model.build((3, 8, 8), 10)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("cifar10-convnet", ConvNet), ("cifar10-vgg-small", VggSmall), ("cifar10-resnet18", ResNet)],
)
def test_each_kind_builds_its_network(name, kind):
    assert isinstance(build(name=name), kind)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.weight_bits=1"], Sign),
        (["model.weight_bits=3"], LinearQuant),
        (["model.weight=lsq", "model.weight_bits=3"], Lsq),
        (["model.weight=dorefa", "model.weight_bits=3"], DorefaWeight),
        (["model.weight=ternary", "model.weight_bits=2"], Ternary),
        (["model.weight=float"], Identity),
    ],
)
def test_weights_are_quantized_as_named(settings, expected):
    quantizer = build(*settings).conv2.weight_quantizer
    assert type(quantizer) is expected
    assert getattr(quantizer, "bits", 3) in (2, 3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.activation_bits=1"], Sign),
        (["model.activation_bits=3"], LinearQuant),
        (["model.activation=stochastic_sign"], StochasticSign),
        (["model.activation=unsigned", "model.activation_bits=3"], UnsignedQuant),
        (["model.activation=relu"], nn.ReLU),
        (["model.activation=hardtanh"], nn.Hardtanh),
    ],
)
def test_activations_are_modules_as_named(settings, expected):
    activation = build(*settings).act1
    assert type(activation) is expected
    assert getattr(activation, "bits", 3) == 3


@pytest.mark.parametrize(("kind", "expected"), [("lsq", Lsq), ("dorefa", DorefaActivation)])
def test_activations_with_a_scale_are_input_quantizers(kind, expected):
    model = build(f"model.activation={kind}", "model.activation_bits=3")
    assert type(model.conv2.input_quantizer) is expected
    assert model.conv2.input_quantizer.bits == 3


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["model.window=0.5"], StraightThrough(0.5)),
        (["model.estimator=polynomial", "model.window=2.0"], Polynomial(2.0)),
        (["model.estimator=swish"], Swish()),
    ],
)
def test_the_gradient_of_signs_is_as_named(settings, expected):
    assert build(*settings).act1.estimator == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.weight=ternary"], "ternary weights have 2 bits, got 1"),
        (["model.weight=lsq"], "a signed Lsq takes 2 to 8 bits, got 1"),
        (["model.weight_bits=9"], "less than or equal to 8"),
        (["model.activation=stochastic_sign", "model.activation_bits=2"], "stochastic signs have 1 bit, got 2"),
        (["model.channels=[]"], "at least 1 item"),
        (["model.hidden_features=3"], r"model\.hidden_features is a setting of another model\.kind"),
        (["model.kind=resnet", "model.widths=[4]"], "each of widths needs one of blocks"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        recipes.load(NARROW, settings)


def test_a_residual_network_needs_images_with_channels():
    settings = recipes.load("cifar10-resnet20", smoke=True).model
    with pytest.raises(RecipeError, match=r"needs images \[channels, height, width\], got \[8, 8\]"):
        settings.build((8, 8), 10)


def test_a_model_without_a_kind_is_a_perceptron(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text('extends = "digits-mlp"\nname = "old"\n[model]\nhidden_layers = 2\n')
    assert recipes.load(path).model.kind == "mlp"
