"""Recipes that say shift-based norm, optimizers, quantized gradients, logarithmic numbers and a second stage."""

import pytest
import torch
from torch import nn

from featherbit import recipes
from featherbit.errors import RecipeError
from featherbit.layers import QuantLinear, ShiftBatchNorm1d, ShiftBatchNorm2d, set_gradient_quantizer
from featherbit.models import ConvNet, Mlp, ResNet, VggSmall
from featherbit.optim import ShiftAdaMax, rate_scale
from featherbit.quantizers import GradientQuant, Identity, LinearQuant, LogQuant, Sign, UnsignedQuant
from featherbit.train._rates import rate_factor

SHIFT = ("optimizer.kind=shift_adamax", "optimizer.learning_rate=0.0078125")


def mlp(*overrides):
    return recipes.load("digits-mlp", overrides, smoke=True).model.build((8, 8), 10)


def convnet(*overrides):
    return recipes.load("cifar10-convnet-narrow", overrides, smoke=True).model.build((3, 8, 8), 10)


def norms(model):
    return [type(module) for name, module in model.named_children() if name.startswith("norm")]


def test_hidden_norms_are_shift_based_and_the_last_is_not():
    assert norms(mlp("model.norm=shift")) == [ShiftBatchNorm1d] * 3 + [nn.BatchNorm1d]
    model = convnet("model.norm=shift")
    dense = sum(name.startswith("linear") for name, _ in model.named_children())
    assert norms(model) == [ShiftBatchNorm2d] * 6 + [ShiftBatchNorm1d] * (dense - 1) + [nn.BatchNorm1d]
    vgg = VggSmall((3, 4, 4), 10, channels=[4], norm="shift")
    assert norms(vgg) == [ShiftBatchNorm2d, ShiftBatchNorm2d, nn.BatchNorm1d]


def test_ordinary_norms_stay_the_default():
    assert norms(mlp()) == [nn.BatchNorm1d] * 4
    assert ShiftBatchNorm2d not in norms(convnet())


@pytest.mark.parametrize("build", [mlp, convnet])
def test_every_layer_gets_its_own_gradient_quantizer(build):
    model = build("model.gradient_bits=5", "model.gradient_scale=sample")
    layers = [module for module in model.modules() if hasattr(module, "weight_quantizer")]
    quantizers = [layer.gradient_quantizer for layer in layers]
    assert {(type(q), type(q.quantizer), q.quantizer.bits, q.per) for q in quantizers} == {
        (GradientQuant, LogQuant, 5, "sample")
    }
    assert len({id(q) for q in quantizers}) == len(layers)
    assert {layer.gradient_quantizer for layer in build().modules() if hasattr(layer, "weight_quantizer")} == {None}


def test_gradients_may_be_linear_and_rounded_at_random():
    linear = mlp("model.gradient_bits=4", "model.gradient_kind=linear", "model.gradient_rounding=stochastic")
    assert (
        type(linear.linear1.gradient_quantizer.quantizer),
        linear.linear1.gradient_quantizer.quantizer.rounding,
    ) == (
        LinearQuant,
        "stochastic",
    )
    log = mlp("model.gradient_bits=4", "model.gradient_rounding=stochastic").linear1.gradient_quantizer.quantizer
    assert (log.rounding, log.underflow) == ("stochastic", "stochastic")


@pytest.mark.parametrize("model", [ResNet(3, [4], [1], "cifar"), VggSmall((3, 4, 4), 3, channels=[4])])
def test_gradient_quantizers_can_be_set_and_taken_away_in_any_network(model):
    count = set_gradient_quantizer(model, GradientQuant())
    layers = [module for module in model.modules() if hasattr(module, "weight_quantizer")]
    assert count == len(layers) > 2
    x = torch.randint(0, 256, (4, 3, 4, 4), dtype=torch.uint8)
    model(x).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    set_gradient_quantizer(model, None)
    assert {layer.gradient_quantizer for layer in layers} == {None}


def test_models_take_a_gradient_quantizer():
    for model in (
        Mlp(4, 3, 1, 2, gradient_quantizer=GradientQuant()),
        ConvNet((3, 4, 4), 2, channels=[2], dense_features=[], gradient_quantizer=GradientQuant()),
        ResNet(2, [2], [1], "cifar", gradient_quantizer=GradientQuant()),
    ):
        layers = [module for module in model.modules() if hasattr(module, "weight_quantizer")]
        assert all(isinstance(layer.gradient_quantizer, GradientQuant) for layer in layers)


@pytest.mark.parametrize(
    ("settings", "weight", "activation"),
    [
        ([], Sign, Sign),
        (["model.weight=log", "model.weight_bits=4"], LogQuant, Sign),
        (["model.weight_bits=2", "model.activation=linear", "model.activation_bits=2"], LinearQuant, LinearQuant),
        (["model.activation=log", "model.activation_bits=3"], Sign, LogQuant),
        (["model.activation=unsigned", "model.activation_bits=3"], Sign, UnsignedQuant),
        (["model.weight=float", "model.activation=hardtanh"], Identity, nn.Hardtanh),
    ],
)
def test_the_perceptron_has_any_bits(settings, weight, activation):
    model = mlp(*settings)
    assert {type(m.weight_quantizer) for m in model.modules() if isinstance(m, QuantLinear)} == {weight}
    assert (type(model.sign1), type(model.sign3)) == (activation, activation)
    x = torch.randint(0, 256, (5, 8, 8), dtype=torch.uint8)
    model(x).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def optimizer_of(*overrides):
    model = mlp()
    return recipes.load("digits-mlp", overrides, smoke=True).optimizer.build(model), model


def test_the_optimizer_is_as_named_with_its_own_defaults():
    assert type(optimizer_of()[0]) is torch.optim.Adam
    adamax, _ = optimizer_of("optimizer.kind=adamax", "optimizer.learning_rate=2e-3", "optimizer.beta1=0.8")
    assert (type(adamax), adamax.defaults["betas"]) == (torch.optim.Adamax, (0.8, 0.999))
    shift, model = optimizer_of(*SHIFT)
    assert (type(shift), shift.defaults["lr"], shift.defaults["betas"]) == (ShiftAdaMax, 2**-7, (0.875, 1 - 2**-10))
    assert shift.param_groups[0]["lr"] == pytest.approx(2**-7 * rate_scale(model.linear1.weight))
    torch7, _ = optimizer_of(*SHIFT, "optimizer.correction=divide", "optimizer.store_rounded=true")
    assert torch7.defaults["correction"] == "divide"
    assert torch7.defaults["store_rounded"]


@pytest.mark.parametrize("kind", ["adam", "adamax", "shift_adamax"])
def test_each_optimizer_clips_latent_weights(kind):
    optimizer, model = optimizer_of(f"optimizer.kind={kind}", "optimizer.learning_rate=64.0", "optimizer.clip=0.5")
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert model.linear1.weight.abs().max() <= 0.5


def test_another_optimizer_drops_the_settings_of_the_old_one():
    with pytest.raises(RecipeError, match=r"optimizer\.learning_rate is missing"):
        recipes.load("digits-mlp", ["optimizer.kind=shift_adamax"])
    with pytest.raises(RecipeError, match=r"optimizer\.correction is a setting of another optimizer\.kind"):
        recipes.load("digits-mlp", ["optimizer.correction=divide"])


def widened(*overrides):
    return recipes.load("digits-mlp", ["epochs=5", "widening.after_epochs=3", "widening.window=2.5", *overrides])


def test_the_schedule_starts_again_with_the_second_stage():
    recipe = widened()
    whole, staged = rate_factor(recipes.load("digits-mlp", ["epochs=3"]), 4), rate_factor(recipe, 4)
    assert [staged(step) for step in range(12)] == [whole(step) for step in range(12)]
    assert staged(12) == 1.0
    final = recipe.schedule.final_learning_rate / recipe.optimizer.learning_rate
    assert staged(20) == pytest.approx(final)


def test_the_schedule_may_run_on():
    plain, staged = (
        rate_factor(recipes.load("digits-mlp", ["epochs=5"]), 4),
        rate_factor(widened("widening.restart_schedule=false"), 4),
    )
    assert [staged(step) for step in range(20)] == [plain(step) for step in range(20)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.gradient_bits=1"], r"model\.gradient_bits: .*greater than or equal to 2"),
        (["model.weight=log"], "LogQuant takes 2 to 8 bits, got 1; use Sign"),
        (["model.activation_bits=2"], "signs have 1 bit, got 2"),
        (["model.activation=lsq"], r"model\.activation: .*'sign'"),
        (["model.norm=layer"], r"model\.norm: .*'batch' or 'shift'"),
        (["widening.window=2.0"], r"widening\.after_epochs is missing"),
        (["widening.window=-1.0", "widening.after_epochs=1"], r"widening\.window"),
        (
            ["epochs=5", "widening.window=2.0", "widening.after_epochs=5"],
            "widening: .*after_epochs must leave some of the 5 epochs",
        ),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        recipes.load("digits-mlp", settings)
