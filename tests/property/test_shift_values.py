"""Powers of two, logarithmic numbers, quantized gradients and shift-based norm equal their oracles on any numbers."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from featherbit.layers import ShiftBatchNorm1d
from featherbit.optim import ShiftAdaMax
from featherbit.quantizers import GradientQuant, LogQuant, ap2
from oracles_shift import log_quantized, power_of_two, shift_adamax, shift_norm, shift_norm_gradients

SMALLEST, LARGEST = 2.0**-126, 2.0**127
normal = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False, max_value=LARGEST).filter(
    lambda x: x >= -LARGEST
)
moderate = st.floats(-100, 100, width=32, allow_subnormal=False)
rounding = st.sampled_from(["nearest", "floor", "ceil"])


@settings(max_examples=60, deadline=None)
@given(values=st.lists(normal, max_size=40), rounding=rounding)
def test_ap2_equals_exact_arithmetic(values, rounding):
    assert ap2(torch.tensor(values), rounding).tolist() == [power_of_two(x, rounding) for x in values]


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(normal, max_size=40),
    bits=st.integers(2, 8),
    max_exponent=st.integers(0, 6),
    rounding=rounding,
    underflow=st.sampled_from(["smallest", "zero"]),
)
def test_log_quant_equals_the_oracle_and_keeps_to_its_format(values, bits, max_exponent, rounding, underflow):
    quantizer = LogQuant(bits, max_exponent=max_exponent, rounding=rounding, underflow=underflow)
    result = quantizer(torch.tensor(values)).tolist()
    assert result == [log_quantized(x, bits, max_exponent, rounding, underflow) for x in values]
    assert set(result) <= set(quantizer.format.values().tolist())
    assert quantizer(torch.tensor(result)).tolist() == result  # quantizing twice changes nothing


@settings(max_examples=40, deadline=None)
@given(values=st.lists(moderate, min_size=1, max_size=30), shift=st.integers(-40, 40), bits=st.integers(3, 8))
def test_a_gradients_scale_goes_through_its_quantizer(values, shift, bits):
    """What is quantized is relative: a power of two more in the gradient is one more in the result."""
    assume(all(x == 0 or abs(x) > 1e-20 for x in values))
    gradient = torch.tensor(values)
    quantizer = GradientQuant(LogQuant(bits))
    assert torch.equal(quantizer(gradient * 2.0**shift), quantizer(gradient) * 2.0**shift)
    assert (quantizer(gradient).abs() <= 2 * gradient.abs().max()).all()


rows = st.integers(2, 9).flatmap(lambda n: st.lists(st.lists(moderate, min_size=3, max_size=3), min_size=n, max_size=n))


@settings(max_examples=40, deadline=None)
@given(rows=rows, gamma=st.lists(moderate, min_size=3, max_size=3), beta=st.lists(moderate, min_size=3, max_size=3))
def test_shift_norm_and_its_gradients_equal_the_oracle(rows, gamma, beta):
    """In float64, so that the order of sums shows in the last digits alone; a tie in the powers is not one of them."""
    norm = ShiftBatchNorm1d(3).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(gamma))
        norm.bias.copy_(torch.tensor(beta))
    x = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    incoming = torch.arange(x.numel(), dtype=torch.float64).view_as(x).sin()
    y = norm(x)
    y.backward(incoming)
    expected, *_ = shift_norm(rows, gamma, beta, norm.eps)
    g_x, g_gamma, g_beta = shift_norm_gradients(rows, incoming.tolist(), gamma, norm.eps)
    for ours, theirs in ((y.detach(), expected), (x.grad, g_x), (norm.weight.grad, g_gamma), (norm.bias.grad, g_beta)):
        assert ours.flatten().tolist() == pytest.approx(
            torch.tensor(theirs, dtype=torch.float64).flatten().tolist(), rel=1e-9, abs=1e-9
        )


@settings(max_examples=40, deadline=None)
@given(
    gradients=st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), max_size=30),
    rate=st.floats(1e-6, 1.0),
    divide=st.booleans(),
    store_rounded=st.booleans(),
)
def test_shift_adamax_equals_the_oracle(gradients, rate, divide, store_rounded):
    theta = torch.tensor([0.5], dtype=torch.float64, requires_grad=True)
    correction = "divide" if divide else "multiply"
    optimizer = ShiftAdaMax([theta], lr=rate, correction=correction, store_rounded=store_rounded)
    expected = shift_adamax(0.5, gradients, rate, 1 - 2**-3, 1 - 2**-10, divide=divide, store_rounded=store_rounded)
    for gradient, wanted in zip(gradients, expected, strict=True):
        theta.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        assert theta.item() == pytest.approx(wanted, rel=1e-9, abs=1e-12)
