"""Quantizers of k bits against definitions in plain Python: values, gradients, ties, zero, NaN, refusals."""

import math

import pytest
import torch

from featherbit.errors import InputError
from featherbit.quantizers import (
    Clipped,
    DorefaActivation,
    DorefaWeight,
    Identity,
    LinearQuant,
    Lsq,
    Ternary,
    UnsignedQuant,
    pass_between,
    round_codes,
)
from oracles_quantizers import (
    dorefa_weights,
    learned_step_gradients,
    nearest_code,
    ternary_weights,
    unsigned_fixed_point,
)

NAN, INF = float("nan"), float("inf")
VALUES = [0.0, -0.0, 1e-45, 0.125, 0.375, 0.5, 0.625, 0.99, 1.0, 1.0 + 2**-23, 2.5, -0.3, -1.0, INF, -INF]


def leaf(values):
    return torch.tensor(values, requires_grad=True)


@pytest.mark.parametrize("bits", range(1, 9))
def test_unsigned_values_equal_the_oracle_ties_included(bits):
    values = VALUES + [(i + 0.5) / 2**bits for i in range(-2, 2**bits + 2)]
    result = UnsignedQuant(bits)(torch.tensor(values)).tolist()
    assert result == [unsigned_fixed_point(x, bits) for x in torch.tensor(values).tolist()]
    assert set(result) <= set(UnsignedQuant(bits).format.values().tolist())


def test_unsigned_gradient_passes_between_zero_and_one_edges_included():
    x = leaf([-0.1, 0.0, 0.5, 1.0, 1.1, NAN])
    (UnsignedQuant(2)(x) * torch.arange(1.0, 7.0)).sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0, 0.0]


@pytest.mark.parametrize("quantizer", [UnsignedQuant(3), LinearQuant(3), DorefaActivation(3)])
def test_nan_stays_nan_so_that_a_lost_run_is_seen(quantizer):
    assert math.isnan(quantizer(torch.tensor([NAN])).item())


@pytest.mark.parametrize("step", [0.25, 0.1, 3.0])
@pytest.mark.parametrize(("low", "high"), [(0, 3), (-2, 1), (-1, 1), (0, 255)])
def test_codes_equal_the_oracle(step, low, high):
    generator = torch.Generator().manual_seed(3)
    x = torch.cat([torch.randn(200, generator=generator) * step * high, torch.tensor([0.0, INF, -INF])])
    codes = round_codes(x, torch.tensor(step), low, high)
    exact_step = torch.tensor(step).item()
    assert codes.tolist() == [nearest_code(v, exact_step, low, high) for v in x.tolist()]


def test_codes_round_ties_to_even():
    assert round_codes(torch.tensor([0.25, 0.75, 1.25, -0.25]), torch.tensor(0.5), -8, 7).tolist() == [0, 2, 2, 0]


def test_codes_take_one_step_for_each_output_channel():
    x = torch.ones(2, 1, 3)
    codes = round_codes(x, torch.tensor([0.5, 0.25]).view(2, 1, 1), 0, 15)
    assert codes[:, 0, 0].tolist() == [2.0, 4.0]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_learned_step_has_the_papers_gradients(bits, signed):
    quantizer = Lsq(bits, signed=signed)
    step = 0.3
    torch.nn.init.constant_(quantizer.step, step)
    exact_step = quantizer.step.item()
    values = [-9.0 * 2**bits, -0.77, -0.1, 0.0, 0.1, 0.29, 0.5, 1.0, 9.0 * 2**bits]
    x = leaf([values])
    upstream = torch.arange(1.0, len(values) + 1)
    (quantizer(x) * upstream).sum().backward()
    expected = [learned_step_gradients(v, exact_step, quantizer.low, quantizer.high) for v in x[0].tolist()]
    by_x = [weight * each[0] for weight, each in zip(upstream.tolist(), expected, strict=True)]
    assert x.grad[0].tolist() == pytest.approx(by_x, rel=1e-6)  # divided and multiplied by the step
    by_step = sum(weight * each[1] for weight, each in zip(upstream.tolist(), expected, strict=True))
    factor = 1.0 / math.sqrt(len(values) * quantizer.high)
    assert quantizer.step.grad.item() == pytest.approx(by_step * factor, rel=1e-5, abs=1e-5)  # float32 sums


def test_a_learned_steps_gradient_is_the_true_one_where_the_codes_are_clipped():
    quantizer = Lsq(2, signed=False).eval()  # no scaling of the gradient
    x = torch.full((5,), 100.0)
    value = quantizer(x).sum()
    value.backward()
    step, delta = quantizer.step.item(), 0.125
    torch.nn.init.constant_(quantizer.step, step + delta)
    slope = (quantizer(x).sum().item() - value.item()) / delta
    assert quantizer.step.grad.item() == pytest.approx(slope, rel=1e-5)  # float32 differences


def test_each_channel_learns_its_own_step():
    quantizer = Lsq(3, channels=2)
    weight = torch.tensor([[0.1, 0.2], [10.0, -20.0]], requires_grad=True)
    quantizer(weight).sum().backward()
    assert quantizer.step.grad.shape == (2,)
    alone = Lsq(3, channels=1)
    with torch.no_grad():
        alone.step.copy_(quantizer.step[1:])
    alone(weight[1:]).sum().backward()
    assert quantizer.step.grad[1].item() == alone.step.grad[0].item()


def test_the_first_step_of_a_weight_follows_its_size():
    torch.manual_seed(0)
    weight = torch.empty(4, 3, 3, 3)
    quantizer = Lsq(4, channels=4)
    quantizer.reset_latent(weight)
    expected = [2.0 * row.abs().mean().item() / math.sqrt(7) for row in weight]
    assert quantizer.step.tolist() == pytest.approx(expected, rel=1e-5)  # float32 means
    assert weight.abs().max() <= 1.0 / math.sqrt(27)  # torch's own bound for this fan-in


def test_a_step_that_turns_negative_or_vanishes_still_divides():
    quantizer = Lsq(2)
    for step in (-0.5, 0.0):
        torch.nn.init.constant_(quantizer.step, step)
        assert quantizer.scale > 0
        assert quantizer(torch.tensor([1.0])).isfinite().all()


def test_a_learned_two_bit_range_can_be_ternary():
    quantizer = Lsq(2, narrow=True)
    assert set(quantizer.codes(torch.linspace(-9, 9, 99)).tolist()) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("bits", range(2, 9))
def test_dorefa_weights_equal_the_oracle_and_are_odd_codes(bits):
    weight = torch.randn(50, generator=torch.Generator().manual_seed(bits))
    quantizer = DorefaWeight(bits)
    codes = quantizer.codes(weight)
    assert all(code % 2 == 1 for code in codes.tolist())
    assert codes.abs().max() == 2**bits - 1  # the largest weight reaches the end
    assert quantizer(weight).tolist() == pytest.approx(dorefa_weights(weight.tolist(), bits), rel=1e-5)  # float32 tanh
    assert torch.equal(quantizer(weight), codes * quantizer.scale)


def test_dorefa_weights_pass_the_gradient_of_the_formula_without_rounding():
    weight = leaf([0.3, -0.2, 0.9])
    upstream = torch.tensor([1.0, 2.0, 4.0])
    (DorefaWeight(4)(weight) * upstream).sum().backward()
    smooth = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)

    def formula(w):
        return ((torch.tanh(w) / torch.tanh(w).abs().max()) * upstream).sum().item()

    for i in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[i] = 1e-5
        slope = (formula(smooth + shift) - formula(smooth - shift)) / 2e-5
        assert weight.grad[i].item() == pytest.approx(slope, rel=1e-4, abs=1e-5)  # finite differences


def test_dorefa_of_zero_weights_is_finite():
    assert DorefaWeight(2)(torch.zeros(3)).isfinite().all()


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_dorefa_activations_are_equal_steps_from_zero_to_one(bits):
    quantizer = DorefaActivation(bits)
    levels = 2**bits - 1
    x = torch.rand(400, generator=torch.Generator().manual_seed(bits)) * 2 - 0.5  # no ties, which a float32 ratio has
    step = quantizer.scale.item()
    assert quantizer.codes(x).tolist() == [nearest_code(v, step, 0, levels) for v in x.tolist()]
    assert quantizer(torch.tensor([-1.0, 1.0, 7.0])).tolist() == pytest.approx([0.0, 1.0, 1.0])


def test_dorefa_activations_pass_the_gradient_between_zero_and_one():
    x = leaf([-0.1, 0.0, 0.5, 1.0, 1.1])
    DorefaActivation(2)(x).sum().backward()
    assert x.grad.tolist() == pytest.approx([0.0, 1.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize("share", [0.7, 0.05, 2.0])
def test_ternary_weights_equal_the_oracle(share):
    weight = torch.randn(60, generator=torch.Generator().manual_seed(1)).double()
    assert Ternary(share)(weight).tolist() == ternary_weights(weight.tolist(), share)


def test_ternary_weights_of_zero_and_nan_are_zero_and_ties_too():
    assert Ternary()(torch.zeros(3)).tolist() == [0.0] * 3
    assert Ternary(1.0)(torch.tensor([0.5, -0.5])).tolist() == [0.0, 0.0]
    assert Ternary()(torch.tensor([NAN])).tolist() == [0.0]


def test_ternary_weights_pass_the_gradient_inside_the_latent_range():
    weight = leaf([0.5, -1.0, 1.5])
    Ternary()(weight).sum().backward()
    assert weight.grad.tolist() == [1.0, 1.0, 0.0]


def test_no_quantization_changes_nothing():
    x = leaf([0.3, NAN])
    assert Identity()(x) is x


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_passed_gradient_keeps_its_memory_format(layout):
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    passed = pass_between(torch.ones_like(x), x, -1.0, 1.0)
    assert passed.is_contiguous(memory_format=layout)
    assert torch.equal(passed, (x.abs() <= 1).float())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UnsignedQuant(0), "UnsignedQuant takes 1 to 8 bits, got 0"),
        (lambda: UnsignedQuant(True), "got True"),
        (lambda: LinearQuant(1), "use Sign for 1 bit"),
        (lambda: DorefaWeight(9), "DorefaWeight takes 2 to 8 bits, got 9"),
        (lambda: DorefaActivation(2.0), r"got 2\.0"),
        (lambda: Lsq(1), "a signed Lsq takes 2 to 8 bits"),
        (lambda: Lsq(2, signed=False, narrow=True), "an unsigned range is for activations"),
        (lambda: Lsq(2, signed=False, channels=3), "an unsigned range is for activations"),
        (lambda: Ternary(0.0), "share must be positive"),
        (lambda: Clipped(1.0, 1.0), "low must be below high"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
