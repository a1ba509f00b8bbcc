"""Estimators are the gradients they claim to be, any quantizer takes any, and windows can be widened."""

import copy

import pytest
import torch
from torch import Tensor, nn

from featherbit.bits import BitFormat
from featherbit.errors import InputError
from featherbit.layers import QuantLinear
from featherbit.models import Mlp
from featherbit.quantizers import (
    LogQuant,
    Polynomial,
    Quantizer,
    Sign,
    StochasticSign,
    StraightThrough,
    Swish,
    ap2,
    widen_windows,
)
from oracles_shift import polynomial_sign, swish_sign
from oracles_training import passes, sign_of

ESTIMATORS = [StraightThrough(), StraightThrough(None), StraightThrough(0.5), Polynomial(), Polynomial(2.0), Swish(2.0)]
POINTS = [-3.1, -1.9, -1.01, -0.99, -0.4, -1e-3, 1e-3, 0.3, 0.77, 0.999, 1.2, 2.5]


def slopes(estimator, values):
    x = torch.tensor(values, dtype=torch.float64)
    return estimator.pass_back(torch.ones_like(x), x).tolist()


def finite_differences(function, values, step=1e-6):
    return [(function(x + step) - function(x - step)) / (2 * step) for x in values]


@pytest.mark.parametrize("window", [0.7, 1.0, 2.5])
def test_the_polynomial_estimator_is_the_slope_of_its_approximation(window):
    expected = finite_differences(lambda x: polynomial_sign(x, window), POINTS)
    assert slopes(Polynomial(window), POINTS) == pytest.approx(expected, abs=1e-5)  # curvature times the step


@pytest.mark.parametrize("beta", [0.5, 1.0, 5.0])
def test_the_swish_estimator_is_the_slope_of_its_approximation(beta):
    expected = finite_differences(lambda x: swish_sign(x, beta), POINTS)
    assert slopes(Swish(beta), POINTS) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("window", [None, 0.4, 1.0, 2.5])
def test_the_straight_through_estimator_is_a_window(window):
    assert slopes(StraightThrough(window), POINTS) == [float(passes(x, window)) for x in POINTS]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("quantizer", [Sign, StochasticSign, lambda **options: LogQuant(4, **options)])
def test_any_quantizer_takes_any_estimator_and_multiplies_by_the_incoming_gradient(quantizer, estimator):
    torch.manual_seed(0)
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    incoming = torch.randn(len(POINTS), dtype=torch.float64)
    (quantizer(estimator=estimator)(x) * incoming).sum().backward()
    expected = incoming * torch.tensor(slopes(estimator, POINTS), dtype=torch.float64)
    torch.testing.assert_close(x.grad, expected, rtol=1e-15, atol=0)  # one product each, in one order or the other


def test_the_estimator_does_not_change_what_is_computed():
    for estimator in ESTIMATORS:
        assert Sign(estimator=estimator)(torch.tensor(POINTS)).tolist() == [sign_of(x) for x in POINTS]


@pytest.mark.parametrize("estimator", [Polynomial(), Swish()])
def test_smooth_estimators_vanish_far_out_and_keep_the_gradients_dtype(estimator):
    x = torch.tensor([1e30, -1e30, float("inf"), float("-inf")])
    result = estimator.pass_back(torch.ones(4, dtype=torch.bfloat16), x)
    assert result.dtype == torch.bfloat16
    assert result.abs().max() < 1e-30


def test_an_estimator_leaves_its_arguments_alone():
    for estimator in ESTIMATORS:
        gradient, x = torch.ones(len(POINTS)), torch.tensor(POINTS)
        estimator.pass_back(gradient, x)
        assert gradient.tolist() == [1.0] * len(POINTS)
        assert torch.equal(x, torch.tensor(POINTS))


def test_without_gradients_the_rule_is_all_there_is():
    x = torch.ones(2, requires_grad=True)
    with torch.no_grad():
        assert not StraightThrough()(torch.round, x).requires_grad
    assert StraightThrough()(torch.round, torch.ones(2)).grad_fn is None


@pytest.mark.parametrize(("estimator", "name"), [(StraightThrough, "window"), (Polynomial, "window"), (Swish, "beta")])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_width_that_is_not_positive_is_refused(estimator, name, value):
    with pytest.raises(InputError, match=f"{name} must be positive"):
        estimator(value)


class PowerOrZero(Quantizer):
    """A quantizer of the reader's own."""

    format = BitFormat(8, "power_of_two")

    def rule(self, x: Tensor) -> Tensor:
        return ap2(x, "floor")


def test_a_new_quantizer_is_a_format_and_a_rule():
    layer = QuantLinear(2, 1, bias=False, weight_quantizer=PowerOrZero(Polynomial()))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.75, -0.3]]))
    layer(torch.tensor([[1.0, 10.0]])).sum().backward()
    assert layer.quantized_weight.tolist() == [[0.5, -0.25]]
    assert layer.weight.grad.tolist() == [[0.5, pytest.approx(14.0)]]


def test_a_quantizer_without_a_rule_says_so():
    with pytest.raises(NotImplementedError, match="Quantizer must define rule"):
        Quantizer(StraightThrough())(torch.zeros(1))


def test_widening_changes_activation_windows_only():
    model = Mlp(4, 3, 2, 2, activation_quantizer=StochasticSign())
    model.linear2.weight_quantizer = Sign(0.5)
    model.linear2.gradient_quantizer = LogQuant(4)
    other = copy.deepcopy(model)
    assert widen_windows(model, 3.0) >= 2
    assert (model.sign1.window, model.sign2.window) == (3.0, 3.0)
    assert (other.sign1.window, model.linear2.weight_quantizer.window) == (1.0, 0.5)
    assert (model.linear1.weight_quantizer.window, model.linear2.gradient_quantizer.window) == (None, 1.0)
    x = torch.tensor([2.0, 4.0], requires_grad=True)
    model.sign1(x).sum().backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_widening_keeps_the_kind_of_estimator():
    quantizer = Sign(estimator=Polynomial())
    widen_windows(nn.Sequential(quantizer), 2.0)
    assert quantizer.estimator == Polynomial(2.0)


def test_there_must_be_a_window_to_widen():
    with pytest.raises(InputError, match="no activation quantizer of the model has a window"):
        widen_windows(nn.Sequential(Sign(None), Sign(estimator=Swish())), 2.0)
    with pytest.raises(InputError, match=r"Swish\(beta=5.0\) has no window to change"):
        Sign(estimator=Swish()).window = 2.0
    with pytest.raises(InputError, match="window must be positive"):
        widen_windows(Sign(), -1.0)


def test_print_shows_the_estimator():
    assert repr(Sign(0.5)) == "Sign(estimator=StraightThrough(window=0.5))"
