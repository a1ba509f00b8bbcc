"""Shift-based AdaMax against sequences computed by hand and a definition in plain Python."""

import copy
import math

import pytest
import torch
from torch import nn

from factors import OnlyShifts
from featherbit.errors import InputError
from featherbit.models import Mlp
from featherbit.optim import ShiftAdaMax, clip_latent_weights, parameter_groups, rate_scale
from oracles_shift import is_power_of_two, power_of_two, shift_adamax

TORCH7 = {"lr": 2**-6, "betas": (0.9, 0.999), "eps": 2**-27, "correction": "divide", "store_rounded": True}


def trajectory(gradients, start=1.0, dtype=torch.float64, **options):
    """Return the parameter after each step."""
    theta = torch.tensor([start], dtype=dtype, requires_grad=True)
    optimizer = ShiftAdaMax([theta], **options)
    values = []
    for gradient in gradients:
        theta.grad = torch.tensor([gradient], dtype=dtype)
        optimizer.step()
        values.append(theta.item())
    return values


def test_the_printed_algorithm_gives_the_sequence_computed_by_hand():
    """With alpha 2^-2 and the gradients 8, -4, 0, written out.

    t = 1: m = 8/8 = 1,             v = 8,                  AP2(v) = 8, AP2(1 - 7/8) = 1/8.
    t = 2: m = 1 + (-4 - 1)/8 = 3/8, v = 8 - 8/1024 = 8 * 1023/1024, AP2(v) = 8, AP2(1 - 49/64 = 0.234) = 1/4.
    t = 3: m = 3/8 - 3/64 = 21/64,  v = 8 * (1023/1024)^2,  AP2(v) = 8, AP2(1 - 343/512 = 0.330) = 1/4.
    """
    steps = [1 / 4 * 1 / 8 * 1 / 8, 1 / 4 * 1 / 4 * 3 / 8 / 8, 1 / 4 * 1 / 4 * 21 / 64 / 8]
    expected = [1 - sum(steps[: t + 1]) for t in range(3)]
    assert trajectory([8.0, -4.0, 0.0], lr=1 / 4) == expected
    assert trajectory([8.0, -4.0, 0.0], lr=1 / 4, dtype=torch.float32) == expected  # every number has few bits


def test_the_torch7_variation_gives_the_sequence_computed_by_hand():
    """With beta1 1/2 and beta2 3/4, which keep the numbers short, no eps, rate 1/4, gradients 3, 1, 0.

    t = 1: m = 3/2,  v = 3 stored as 4,                  step = AP2(1/4 / (1/2))  = 1/2: theta -= 1/2 * 3/2 / 4.
    t = 2: m = 5/4,  v = max(3, 1) = 3 stored as 4,      step = AP2(1/4 / (3/4))  = 1/4: theta -= 1/4 * 5/4 / 4.
    t = 3: m = 5/8,  v = max(3, 0) = 3 stored as 4,      step = AP2(1/4 / (7/8))  = 1/4: theta -= 1/4 * 5/8 / 4.
    """
    options = {"lr": 1 / 4, "betas": (0.5, 0.75), "correction": "divide", "store_rounded": True}
    steps = [1 / 2 * 3 / 2 / 4, 1 / 4 * 5 / 4 / 4, 1 / 4 * 5 / 8 / 4]
    assert trajectory([3.0, 1.0, 0.0], **options) == [1 - sum(steps[: t + 1]) for t in range(3)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.3},
        {"lr": 2**-4, "correction": "divide"},
        {"eps": 2**-3},
        {"store_rounded": True, "betas": (0.5, 0.6)},
        TORCH7,
    ],
)
def test_each_variation_equals_the_oracle_over_many_steps(options):
    torch.manual_seed(0)
    gradients = (torch.randn(200, dtype=torch.float64) * torch.logspace(1, -5, 200, dtype=torch.float64)).tolist()
    gradients[:2] = [0.0, 0.0]  # nothing moves while v is 0
    settings = {"lr": 2.0**-10, "betas": (1 - 2**-3, 1 - 2**-10), **options}
    beta1, beta2 = settings.pop("betas")
    settings["divide"] = settings.pop("correction", "multiply") == "divide"
    expected = shift_adamax(1.0, gradients, beta1=beta1, beta2=beta2, **settings)
    assert trajectory(gradients, **options) == pytest.approx(expected, rel=1e-12, abs=0)  # both averages' roundings


def test_the_defaults_are_the_papers():
    defaults = ShiftAdaMax([torch.zeros(1)]).defaults
    assert defaults["lr"] == 2**-10
    assert [1 - beta for beta in defaults["betas"]] == [2**-3, 2**-10]
    assert (defaults["eps"], defaults["correction"], defaults["store_rounded"]) == (0.0, "multiply", False)


@pytest.mark.parametrize("correction", ["multiply", "divide"])
def test_every_factor_of_a_step_is_a_power_of_two(correction):
    torch.manual_seed(1)
    parameter = nn.Parameter(torch.randn(30, 7))
    optimizer = ShiftAdaMax([parameter], lr=0.003, correction=correction)
    for step in range(12):
        parameter.grad = torch.randn(30, 7)
        if step == 0:
            optimizer.step()  # makes the state
            continue
        with OnlyShifts() as watch:
            optimizer.step()
        assert watch.seen == 4  # m, v, the divisor, the step


def test_the_watch_on_factors_finds_torchs_own_adamax():
    parameter = nn.Parameter(torch.randn(3))
    optimizer = torch.optim.Adamax([parameter], foreach=False)
    parameter.grad = torch.randn(3)
    optimizer.step()
    with pytest.raises(AssertionError, match="may multiply"), OnlyShifts():
        optimizer.step()


def test_a_stored_rounded_v_never_falls():
    """What the docstring says of the Torch7 variation; the printed one forgets."""
    gradients = [4.0] + [1e-3] * 60
    states = []
    for options in ({"store_rounded": True}, {}):
        theta = torch.tensor([1.0], requires_grad=True)
        optimizer = ShiftAdaMax([theta], betas=(0.9, 0.75), **options)
        for gradient in gradients:
            theta.grad = torch.tensor([gradient])
            optimizer.step()
        states.append(optimizer.state[theta]["exp_inf"].item())
    assert states[0] == 4.0
    assert states[1] < 0.01


def test_groups_have_their_own_rates_each_rounded_to_a_power_of_two():
    torch.manual_seed(2)
    model = Mlp(12, 8, 1, 3)
    before = copy.deepcopy(model)
    optimizer = ShiftAdaMax(parameter_groups(model, 2**-10))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True):
        gamma = rate_scale(new) if name.startswith("linear") else 1.0
        step = power_of_two(2**-10 * gamma) * 2**-3 * (0.5 * 2**-3) / 0.5
        assert is_power_of_two(step)
        assert torch.equal(new, old - step)


def test_a_schedule_moves_the_rate_in_halvings():
    theta = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = ShiftAdaMax([theta], lr=2**-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
    for step in range(40):
        before = theta.item()
        theta.grad = torch.ones_like(theta)  # so that v is 1
        optimizer.step()
        scheduler.step()
        size = (before - theta.item()) / optimizer.state[theta]["exp_avg"].item()
        expected = power_of_two(2**-3 * 0.9**step) * power_of_two(1 - (1 - 2**-3) ** (step + 1))
        assert size == pytest.approx(expected, rel=1e-9)  # a difference of two thetas


def test_a_loaded_state_continues_bit_for_bit(tmp_path):
    def run(model, optimizer, steps, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(9, 4, generator=generator)).square().sum().backward()
            optimizer.step()

    def fresh():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
        return model, ShiftAdaMax([{"params": model[0].parameters(), "lr": 2**-5}, {"params": model[2].parameters()}])

    whole, optimizer = fresh()
    run(whole, optimizer, 6, seed=4)
    run(whole, optimizer, 6, seed=5)

    first, optimizer = fresh()
    run(first, optimizer, 6, seed=4)
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    second, optimizer = fresh()
    second.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    run(second, optimizer, 6, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_a_closure_is_called_and_its_loss_returned():
    theta = torch.tensor([1.0], requires_grad=True)
    optimizer = ShiftAdaMax([theta])

    def closure():
        optimizer.zero_grad()
        loss = (theta * 2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    assert theta.item() < 1.0


def test_parameters_without_a_gradient_stay_and_latent_weights_are_clipped():
    model = Mlp(4, 3, 1, 2)
    optimizer = ShiftAdaMax(model.parameters(), lr=64.0)
    clip_latent_weights(optimizer, model)
    other = model.linear2.weight.detach().clone()
    model.linear1.weight.grad = torch.ones_like(model.linear1.weight)
    optimizer.step()
    assert (model.linear1.weight >= -1).all()
    assert torch.equal(model.linear2.weight, other)


def test_tiny_and_bad_gradients():
    assert trajectory([1e-42], dtype=torch.float32) == [1.0]
    assert math.isnan(trajectory([math.nan], dtype=torch.float32)[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"lr": math.inf}, "lr must be positive"),
        ({"betas": (1.0, 0.9)}, r"betas must be two numbers from 0 up to but not 1, got \(1.0, 0.9\)"),
        ({"eps": -1.0}, "eps must not be negative"),
        ({"correction": "none"}, "correction must be 'multiply' or 'divide', got 'none'"),
    ],
)
def test_settings_out_of_range_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        ShiftAdaMax([torch.zeros(1)], **options)
    with pytest.raises(InputError, match=words):
        ShiftAdaMax([{"params": [torch.zeros(1)], **options}])


@pytest.mark.parametrize("gradient", [torch.eye(2).to_sparse(), torch.ones(2, 2, dtype=torch.complex64)])
def test_sparse_and_complex_gradients_are_refused(gradient):
    theta = torch.zeros(2, 2, dtype=gradient.dtype, requires_grad=True)
    theta.grad = gradient
    with pytest.raises(InputError, match="dense real gradients only"):
        ShiftAdaMax([theta]).step()
