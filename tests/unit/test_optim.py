"""Rate scale, groups, clipping and schedules."""

import math

import pytest
import torch
from torch import nn

from featherbit.errors import InputError
from featherbit.layers import QuantLinear
from featherbit.models import Mlp
from featherbit.optim import clip_latent_weights, decay, latent_weights, parameter_groups, rate_scale, schedule
from featherbit.quantizers import Identity, LinearQuant, Lsq, Ternary


@pytest.mark.parametrize(
    ("shape", "gamma"),
    [
        ((4096, 784), 57.04),
        ((4096, 4096), 73.90),
        ((10, 4096), 52.32),
        ((128, 3, 3, 3), 28.04),  # convolutions of the paper's CIFAR-10 network
        ((512, 256, 3, 3), 67.88),
        ((1024, 8192), 78.38),
    ],
)
def test_gamma_has_the_papers_numbers(shape, gamma):
    assert round(rate_scale(torch.empty(shape, device="meta")), 2) == gamma


def test_gamma_needs_a_matrix():
    with pytest.raises(InputError, match="at least 2 dimensions"):
        rate_scale(torch.empty(3))


def test_weights_with_a_range_get_gamma_and_every_parameter_is_in_one_group():
    model = nn.Sequential(
        QuantLinear(4, 2),
        nn.BatchNorm1d(2),
        nn.Linear(2, 2),
        QuantLinear(2, 2, weight_quantizer=LinearQuant(4)),
        QuantLinear(2, 2, weight_quantizer=Lsq(4)),  # learns its range
        QuantLinear(2, 2, weight_quantizer=Identity()),  # a float layer
    )
    groups = parameter_groups(model, 0.1)
    assert [group["layer"] for group in groups] == ["0", "3", ""]
    assert groups[0]["lr"] == pytest.approx(0.1 / math.sqrt(1.5 / 6))
    assert groups[1]["lr"] == pytest.approx(0.1 / math.sqrt(1.5 / 4))
    assert groups[2]["lr"] == 0.1
    listed = [id(p) for group in groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters())


def test_gamma_can_be_left_out():
    assert {group["lr"] for group in parameter_groups(Mlp(4, 3, 1, 2), 0.5, scale=False)} == {0.5}


def test_each_step_clips_latent_weights_and_nothing_else():
    model = nn.Sequential(QuantLinear(2, 1), nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=100.0)
    handle = clip_latent_weights(optimizer, model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert model[0].weight.tolist() == [[-1.0, -1.0]]
    assert model[0].bias.item() == -100.0
    assert model[1].weight.item() < -90
    handle.remove()
    optimizer.step()
    assert model[0].weight.max() <= -101.0


def test_each_latent_weight_is_clipped_to_its_quantizers_range():
    wide = LinearQuant(4)
    wide.latent_bound = 2.0
    model = nn.Sequential(
        QuantLinear(1, 1, weight_quantizer=wide),
        QuantLinear(1, 1, weight_quantizer=Ternary()),
        QuantLinear(1, 1, weight_quantizer=Lsq(2)),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=100.0)
    clip_latent_weights(optimizer, model, bound=1.5)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert [layer.weight.item() for layer in model[:2]] == [-3.0, -1.5]
    assert model[2].weight.item() < -90


def test_a_bound_that_is_not_positive_is_refused():
    model = QuantLinear(2, 1)
    with pytest.raises(InputError, match="bound must be positive"):
        clip_latent_weights(torch.optim.SGD(model.parameters(), lr=1.0), model, bound=0.0)


def test_latent_weights_are_found_with_their_paths():
    assert [path for path, _ in latent_weights(Mlp(4, 3, 2, 2))] == ["linear1", "linear2", "linear3"]


@pytest.mark.parametrize("kind", ["constant", "exponential", "cosine"])
def test_schedules_start_at_one_and_end_at_the_final_factor(kind):
    assert decay(kind, 0.0, 0.01) == pytest.approx(1.0)
    assert decay(kind, 1.0, 0.01) == pytest.approx(1.0 if kind == "constant" else 0.01)


def test_the_exponential_schedule_falls_by_a_constant_ratio_each_step():
    factor = schedule("exponential", 1e-4, epochs=4, steps_per_epoch=25)
    ratios = [factor(step + 1) / factor(step) for step in range(100)]
    assert ratios == pytest.approx([1e-4 ** (1 / 100)] * 100)


def test_the_cosine_schedule_is_halfway_at_half_time():
    assert schedule("cosine", 0.0, epochs=2, steps_per_epoch=5)(5) == pytest.approx(0.5)


def test_an_epoch_interval_changes_the_rate_at_epoch_starts_only():
    factor = schedule("cosine", 0.1, epochs=3, steps_per_epoch=4, interval="epoch")
    rates = [factor(step) for step in range(12)]
    assert len(set(rates)) == 3
    assert rates[:4] == [1.0] * 4
