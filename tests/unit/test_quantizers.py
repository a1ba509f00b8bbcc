"""Quantizers against definitions in plain Python: forward values, gradients, formats, capture."""

import math

import pytest
import torch

from featherbit.errors import InputError
from featherbit.quantizers import LinearQuant, Sign, StochasticSign, straight_through
from oracles_training import fixed_point, passes, sign_of

NAN, INF = float("nan"), float("inf")
TINY = 1e-45  # the smallest float32 above zero
EDGE = 1.0 + 2**-23  # the next float32 above 1
VALUES = [0.0, -0.0, TINY, -TINY, 0.3, -0.3, 1.0, -1.0, EDGE, -EDGE, 2.5, -2.5, INF, -INF, NAN, -NAN]


def gradient_of(quantizer, values, dtype=torch.float32):
    x = torch.tensor(values, dtype=dtype, requires_grad=True)
    weights = torch.arange(1, len(values) + 1, dtype=dtype)
    (quantizer(x) * weights).sum().backward()
    return x.grad.tolist()


@pytest.mark.parametrize("repeat", [1, 5, 33])  # odd lengths reach the tails of vector loops
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sign_equals_the_oracle_on_special_values(repeat, dtype):
    values = (VALUES * repeat)[:-1]
    result = Sign()(torch.tensor(values, dtype=dtype))
    assert result.dtype == dtype
    assert result.tolist() == [sign_of(x) for x in values]


@pytest.mark.parametrize("window", [None, 0.25, 1.0, 2.5])
@pytest.mark.parametrize("quantizer", [Sign, StochasticSign])
def test_sign_passes_the_gradient_inside_its_window_edges_included(quantizer, window):
    expected = [float(i) if passes(x, window) else 0.0 for i, x in enumerate(VALUES, start=1)]
    assert gradient_of(quantizer(window=window), VALUES) == expected


def test_sign_leaves_its_input_alone_and_keeps_strides_out_of_the_result():
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).T
    before = x.clone()
    result = Sign()(x)
    assert torch.equal(x, before)
    assert result.tolist() == [[sign_of(v) for v in row] for row in before.tolist()]


def test_sign_of_nothing_is_nothing():
    assert Sign()(torch.empty(0, 3)).shape == (0, 3)


def test_stochastic_sign_is_the_sign_in_eval_mode():
    assert StochasticSign().eval()(torch.tensor(VALUES)).tolist() == [sign_of(x) for x in VALUES]


@pytest.mark.parametrize(
    ("x", "probability"), [(-2.0, 0.0), (-1.0, 0.0), (-0.5, 0.25), (0.0, 0.5), (0.8, 0.9), (1.0, 1.0), (INF, 1.0)]
)
def test_stochastic_sign_is_plus_one_with_the_hard_sigmoids_probability(x, probability):
    torch.manual_seed(3)
    draws = 40_000
    share = (StochasticSign()(torch.full((draws,), x)) == 1.0).double().mean().item()
    five_sigma = 5 * math.sqrt(probability * (1 - probability) / draws)
    assert abs(share - probability) <= five_sigma


def test_stochastic_sign_of_nan_is_minus_one_and_values_are_only_plus_minus_one():
    torch.manual_seed(0)
    assert StochasticSign()(torch.full((64,), NAN)).tolist() == [-1.0] * 64
    assert set(StochasticSign()(torch.zeros(1000)).tolist()) == {-1.0, 1.0}


def test_stochastic_sign_repeats_with_the_seed():
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(StochasticSign()(torch.zeros(100)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("bits", range(2, 9))
def test_linear_quant_equals_the_oracle_on_ties_edges_and_infinities(bits):
    half_step = 2.0**-bits
    values = [i * half_step for i in range(-(2**bits) - 3, 2**bits + 4)] + [0.123, -0.777, 7.0, -7.0, INF, -INF, 1e30]
    quantizer = LinearQuant(bits)
    result = quantizer(torch.tensor(values)).tolist()
    assert result == [fixed_point(x, bits) for x in torch.tensor(values).tolist()]
    assert set(result) <= set(quantizer.format.values().tolist())


def test_linear_quant_passes_the_gradient_in_minus_one_to_one():
    expected = [float(i) if passes(x, 1.0) else 0.0 for i, x in enumerate(VALUES, start=1)]
    assert gradient_of(LinearQuant(4), VALUES) == expected


def test_formats_say_what_the_values_are():
    assert str(Sign().format) == "u1"
    assert str(StochasticSign().format) == "u1"
    assert Sign().format.values().tolist() == [-1.0, 1.0]
    assert (str(LinearQuant(8).format), LinearQuant(8).format.scale) == ("s8", 1 / 128)


@pytest.mark.parametrize("bits", [0, 1, 9, 2.0, True, "8"])
def test_linear_quant_refuses_other_widths(bits):
    with pytest.raises(InputError, match="2 to 8 bits"):
        LinearQuant(bits)


@pytest.mark.parametrize("window", [0.0, -1.0, NAN])
def test_a_window_that_is_not_positive_is_refused(window):
    with pytest.raises(InputError, match="window must be positive"):
        Sign(window=window)


def test_the_estimator_keeps_the_gradients_dtype():
    result = straight_through(torch.ones(2, dtype=torch.bfloat16), torch.tensor([0.0, 2.0]), 1.0)
    assert result.dtype == torch.bfloat16
    assert result.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("quantizer", "operator"),
    [(Sign(0.5), "sign"), (StochasticSign(), "sign"), (LinearQuant(5), "linear_quant")],
)
def test_export_in_eval_mode_names_the_operator(quantizer, operator):
    graph = torch.export.export(quantizer.eval(), (torch.zeros(3),)).graph
    called = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert [name for name in called if name.startswith("featherbit")] == [f"featherbit.{operator}.default"]


@pytest.mark.parametrize("quantizer", [Sign(0.5), Sign(None), LinearQuant(3)])
def test_operators_keep_torchs_rules_for_custom_operators(quantizer):
    x = torch.linspace(-1.5, 1.5, 7, requires_grad=True)
    operator, argument = (
        (torch.ops.featherbit.linear_quant.default, quantizer.bits)
        if isinstance(quantizer, LinearQuant)
        else (torch.ops.featherbit.sign.default, quantizer.window)
    )
    torch.library.opcheck(operator, (x, argument), test_utils=("test_schema", "test_faketensor"))
