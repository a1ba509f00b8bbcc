"""Powers of two, stochastic rounding and LogQuant against exact arithmetic in plain Python."""

import itertools
import math

import pytest
import torch

from featherbit.errors import InputError
from featherbit.quantizers import LinearQuant, LogQuant, StraightThrough, ap2, log_quant, stochastic_round
from oracles_shift import is_power_of_two, log_quantized, power_of_two
from oracles_training import passes

NAN, INF = float("nan"), float("inf")
ROUNDINGS = ("nearest", "floor", "ceil")
LIMITS = {  # the numbers of each type around a power's limits: below and above sqrt(2), a power itself, its neighbors
    dtype: [
        float(value) * 2.0**exponent
        for around in (1.0, math.sqrt(2.0))
        for value in (
            torch.nextafter(torch.tensor(around, dtype=dtype), torch.tensor(0.0, dtype=dtype)),
            torch.tensor(around, dtype=dtype),
            torch.nextafter(torch.tensor(around, dtype=dtype), torch.tensor(9.0, dtype=dtype)),
        )
        for exponent in (-13, -1, 0, 5)
    ]
    for dtype in (torch.float32, torch.float64, torch.bfloat16)
}


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", list(LIMITS))
def test_ap2_equals_exact_arithmetic_around_its_limits(dtype, rounding):
    values = [sign * x for sign in (1, -1) for x in LIMITS[dtype]]
    result = ap2(torch.tensor(values, dtype=dtype), rounding)
    assert result.dtype == dtype
    assert result.tolist() == [power_of_two(x, rounding) for x in values]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_ap2_equals_exact_arithmetic_over_the_whole_range_of_normal_numbers(rounding):
    exponents = torch.arange(-126, 127, dtype=torch.float64)
    values = torch.exp2(exponents).mul(1.37).float().tolist()
    assert ap2(torch.tensor(values), rounding).tolist() == [power_of_two(x, rounding) for x in values]


def test_ap2_of_zero_infinity_and_nan():
    result = ap2(torch.tensor([0.0, -0.0, INF, -INF, NAN])).tolist()
    assert result[:2] == [0.0, 0.0]
    assert all(math.isnan(x) for x in result[2:])


def test_ap2_of_numbers_below_the_smallest_normal_one_is_zero_or_that():
    smallest = 2.0**-126
    values = torch.tensor([1e-45, 1e-39, smallest / 2, smallest * 0.9])
    assert ap2(values, "floor").tolist() == [0.0] * 4
    assert ap2(values, "ceil").tolist() == [smallest] * 4
    assert ap2(values).tolist() == [0.0, 0.0, smallest, smallest]


def test_ap2_that_passes_the_largest_number_is_infinite():
    assert ap2(torch.tensor([-3.4e38])).tolist() == [-INF]
    assert ap2(torch.tensor([-3.4e38]), "floor").tolist() == [-(2.0**127)]


@pytest.mark.parametrize("x", [1.0, 1.25, -1.5, 1.96, 0.0])
def test_stochastic_ap2_has_its_argument_as_mean_and_both_neighbors_as_values(x):
    torch.manual_seed(1)
    draws = 40_000
    powers = ap2(torch.full((draws,), x), "stochastic").double()
    floor, ceil = power_of_two(x, "floor"), power_of_two(x, "ceil")
    assert set(powers.tolist()) <= {floor, ceil}
    five_sigma = 5 * 0.5 * abs(ceil - floor) / math.sqrt(draws)
    assert abs(powers.mean().item() - x) <= five_sigma


def test_ap2_leaves_its_argument_alone_takes_any_strides_and_passes_the_gradient():
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).T.requires_grad_()
    before = x.detach().clone()
    result = ap2(x)
    result.sum().backward()
    assert torch.equal(x, before)
    assert result.tolist() == [[power_of_two(v) for v in row] for row in before.tolist()]
    assert x.grad.tolist() == torch.ones(3, 5).tolist()


def test_an_unknown_rounding_is_refused():
    with pytest.raises(InputError, match="unknown rounding 'up'; use one of nearest, floor"):
        ap2(torch.zeros(1), "up")
    with pytest.raises(InputError, match="unknown rounding 'up'"):
        LogQuant(4, rounding="up")
    with pytest.raises(InputError, match="unknown underflow 'drop'; use one of smallest, zero"):
        LogQuant(4, underflow="drop")


@pytest.mark.parametrize("x", [0.25, -0.25, 3.9, 126.5])
def test_stochastic_rounding_has_its_argument_as_mean_and_both_neighbors_as_values(x):
    torch.manual_seed(2)
    draws = 40_000
    integers = stochastic_round(torch.full((draws,), x)).double()
    assert set(integers.tolist()) == {math.floor(x), math.ceil(x)}
    assert abs(integers.mean().item() - x) <= 5 * 0.5 / math.sqrt(draws)


def test_stochastic_rounding_keeps_integers_infinities_and_nan():
    values = torch.tensor([0.0, -3.0, 127.0, 2.0**24, INF, -INF, NAN]).repeat(500)
    result = stochastic_round(values)
    assert torch.equal(result[~values.isnan()], values[~values.isnan()])
    assert result[values.isnan()].isnan().all()


@pytest.mark.parametrize("underflow", ["smallest", "zero"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("bits", "max_exponent"), [(2, 0), (2, -3), (3, 0), (3, 2), (4, 0), (5, -1), (6, 0), (8, 0)])
def test_log_quant_equals_the_oracle(bits, max_exponent, rounding, underflow):
    quantizer = LogQuant(bits, max_exponent=max_exponent, rounding=rounding, underflow=underflow)
    powers = [2.0**e for e in range(max_exponent - 10, max_exponent + 4)]
    values = [s * p * f for s, p, f in itertools.product((1, -1), powers, (1.0, 1.3, 1.41421, 1.41422, 1.9))]
    values = torch.tensor([*values, 0.0, INF, -INF, 1e30, 1e-30]).tolist()
    result = quantizer(torch.tensor(values)).tolist()
    assert result == [log_quantized(x, bits, max_exponent, rounding, underflow) for x in values]
    assert set(result) <= set(quantizer.format.values().tolist())


def test_log_quant_keeps_nan_and_the_dtype():
    assert math.isnan(LogQuant(4)(torch.tensor([NAN])).item())
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        result = LogQuant(4)(torch.tensor([0.3, -0.9], dtype=dtype))
        assert (result.dtype, result.tolist()) == (dtype, [0.25, -1.0])


def test_the_log_format_has_a_code_for_each_value():
    quantizer = LogQuant(4, max_exponent=1)
    assert (quantizer.min_exponent, quantizer.max_exponent) == (-5, 1)
    assert (str(quantizer.format), quantizer.format.scale) == ("p4", 2.0**-5)
    assert quantizer.format.values().max() == quantizer.latent_bound == 2.0
    assert all(is_power_of_two(v) for v in quantizer.format.values().tolist())


def test_log_quant_passes_the_gradient_up_to_its_largest_magnitude():
    values = [0.0, 0.5, -1.999, 2.0, -2.001, 3.0]
    x = torch.tensor(values, requires_grad=True)
    LogQuant(3, max_exponent=1)(x).sum().backward()
    assert x.grad.tolist() == [float(passes(v, 2.0)) for v in x.tolist()]
    y = torch.tensor(values, requires_grad=True)
    LogQuant(3, estimator=StraightThrough(None))(y).sum().backward()
    assert y.grad.tolist() == [1.0] * 6


@pytest.mark.parametrize("x", [0.04, -0.1, 0.24, 0.3, -0.45, 0.9, 0.0])
def test_log_quant_with_both_stochastic_settings_is_unbiased(x):
    torch.manual_seed(4)
    draws = 40_000
    quantizer = LogQuant(3, rounding="stochastic", underflow="stochastic")
    result = quantizer(torch.full((draws,), x)).double()
    assert set(result.abs().tolist()) <= {0.0, 0.25, 0.5, 1.0}
    assert abs(result.mean().item() - x) <= 5 * 0.25 / math.sqrt(draws)  # steps are at most 0.5 wide
    expected = log_quantized(torch.tensor(x).item(), 3, 0, "nearest", "zero")
    assert set(quantizer.eval()(torch.full((8,), x)).tolist()) == {expected}


@pytest.mark.parametrize("bits", [0, 1, 9, 2.0, True, "4"])
def test_log_quant_refuses_other_widths(bits):
    with pytest.raises(InputError, match="LogQuant takes 2 to 8 bits"):
        LogQuant(bits)


@pytest.mark.parametrize(("bits", "max_exponent", "least"), [(8, -1, 0), (2, 128, -126), (6, -97, -96)])
def test_log_quant_refuses_exponents_outside_float32(bits, max_exponent, least):
    with pytest.raises(InputError, match=f"with {bits} bits max_exponent is {least} to 127, got {max_exponent}"):
        LogQuant(bits, max_exponent=max_exponent)


def test_export_names_the_log_quantizer_and_keeps_its_settings():
    graph = torch.export.export(LogQuant(4).eval(), (torch.zeros(3),)).graph
    called = [node for node in graph.nodes if node.op == "call_function"]
    assert [str(node.target) for node in called] == ["featherbit.log_quant.default"]
    assert called[0].args[1:] == (-6, 0, "nearest", "smallest")


@pytest.mark.parametrize(("operator", "arguments"), [("ap2", ("nearest",)), ("log_quant", (-2, 0, "floor", "zero"))])
def test_operators_keep_torchs_rules_for_custom_operators(operator, arguments):
    x = torch.linspace(-1.5, 1.5, 7).view(1, 7).T
    overload = getattr(torch.ops.featherbit, operator).default
    torch.library.opcheck(overload, (x, *arguments), test_utils=("test_schema", "test_faketensor"))


def test_log_quant_of_nothing_is_nothing():
    assert LogQuant(4)(torch.empty(0, 3)).shape == (0, 3)
    assert log_quant(torch.empty(0), -2, 0, "stochastic", "stochastic").shape == (0,)


@pytest.mark.parametrize("x", [0.1, -0.3, 0.99, -5.0])
def test_linear_quant_rounds_at_random_in_training_only(x):
    torch.manual_seed(7)
    draws = 20_000
    quantizer = LinearQuant(3, rounding="stochastic")
    result = quantizer(torch.full((draws,), x)).double()
    clipped = min(max(x, -1.0), 0.75)
    assert set((4 * result).tolist()) <= {math.floor(4 * clipped), math.ceil(4 * clipped)}
    assert abs(result.mean().item() - clipped) <= 5 * 0.125 / math.sqrt(draws)
    values = torch.full((8,), x)
    assert torch.equal(quantizer.eval()(values), LinearQuant(3)(values))


def test_linear_quant_keeps_its_gradient_when_it_rounds_at_random():
    x = torch.tensor([0.3, -1.0, 1.5], requires_grad=True)
    LinearQuant(3, rounding="stochastic")(x).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 0.0]
    with pytest.raises(InputError, match="rounding must be 'nearest' or 'stochastic', got 'up'"):
        LinearQuant(3, rounding="up")
