"""Quantized gradients: scale and values, and that both products of the backward pass see them."""

import math

import pytest
import torch
from torch import nn

from featherbit.errors import InputError
from featherbit.layers import QuantConv2d, QuantLinear, quantize_gradient
from featherbit.quantizers import GradientQuant, LinearQuant, LogQuant
from oracles_shift import is_power_of_two, log_quantized, power_of_two
from oracles_training import fixed_point

ROWS = [[0.3, -0.001, 2.9e-5], [-7e-4, 3e-9, 0.0], [0.0, 0.0, 0.0], [0.5, -0.25, 1e-7]]
GRADIENT = torch.tensor(ROWS)


def scales_of(per, exact):
    largest = [max(map(abs, row)) for row in GRADIENT.tolist()]
    if per == "tensor":
        largest = [max(largest)] * len(ROWS)
    return largest if exact else [power_of_two(x, "ceil") for x in largest]


@pytest.mark.parametrize("per", ["tensor", "sample"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_logarithmic_gradients_equal_the_oracle_at_each_width(bits, per):
    rows = zip(GRADIENT.tolist(), scales_of(per, False), strict=True)
    expected = [[s and s * log_quantized(g / s, bits, 0, "nearest", "smallest") for g in row] for row, s in rows]
    assert GradientQuant(LogQuant(bits), per=per)(GRADIENT).tolist() == expected


@pytest.mark.parametrize("per", ["tensor", "sample"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_linear_gradients_equal_the_oracle_at_each_width(bits, per):
    rows = zip(GRADIENT.tolist(), scales_of(per, False), strict=True)
    expected = [[s and s * fixed_point(g / s, bits) for g in row] for row, s in rows]
    assert GradientQuant(LinearQuant(bits), per=per)(GRADIENT).tolist() == expected


@pytest.mark.parametrize("per", ["tensor", "sample"])
def test_an_exact_scale_is_the_largest_magnitude(per):
    quantizer = GradientQuant(LogQuant(4), per=per, exact=True)
    scale = quantizer.scale(GRADIENT)
    assert scale.expand(len(ROWS), 1).flatten().tolist() == scales_of(per, True)
    result = quantizer(GRADIENT)
    assert result[0, 0].item() == GRADIENT[0, 0].item() if per == "sample" else True
    assert result.abs().max() == 0.5


def test_six_logarithmic_bits_are_the_default():
    quantizer = GradientQuant()
    assert (quantizer.quantizer.bits, quantizer.quantizer.underflow) == (6, "zero")
    assert (quantizer.per, quantizer.exact) == ("tensor", False)
    assert set(quantizer(torch.randn(50)).abs().log2().frac().tolist()) == {0.0}


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2, 2)])
def test_a_sample_is_one_index_of_the_first_dimension(shape):
    torch.manual_seed(0)
    gradient = torch.randn(shape) * torch.logspace(-6, 2, 4).view(-1, *[1] * (len(shape) - 1))
    quantizer = GradientQuant(LinearQuant(5), per="sample")
    expected = torch.stack([GradientQuant(LinearQuant(5))(sample) for sample in gradient])
    assert torch.equal(quantizer(gradient), expected)


def test_a_gradient_of_zeros_or_of_nothing_stays():
    for per in ("tensor", "sample"):
        assert GradientQuant(per=per)(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
        assert GradientQuant(per=per)(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_shows(bad):
    gradient = torch.tensor([[0.5, bad], [0.5, 0.25]])
    assert GradientQuant()(gradient).isnan().all()
    by_sample = GradientQuant(per="sample")(gradient)
    assert by_sample[0].isnan().all()
    assert by_sample[1].tolist() == [0.5, 0.25]


def test_the_smallest_gradients_do_not_grow():
    gradient = torch.tensor([1e-45, 1e-40, -3e-39])
    assert GradientQuant()(gradient).abs().max() <= 2.0**-126


@pytest.mark.parametrize("quantizer", [LogQuant(8), LinearQuant(8), LogQuant(4), LinearQuant(3)])
def test_quantized_gradients_are_exact_in_bfloat16(quantizer):
    torch.manual_seed(1)
    result = GradientQuant(quantizer)(torch.randn(500) * 1e-5)
    assert torch.equal(result.bfloat16().float(), result)


def test_an_unknown_scale_is_refused():
    with pytest.raises(InputError, match="per must be 'tensor' or 'sample', got 'row'"):
        GradientQuant(per="row")


def test_print_shows_scale_and_quantizer():
    text = repr(GradientQuant(LinearQuant(4), per="sample", exact=True))
    assert "per=sample, exact" in text
    assert "LinearQuant(bits=4" in text


def backward_of(layer, x, weights):
    """Return the gradients of input and latent weight for an output gradient of `weights`."""
    x = x.clone().requires_grad_()
    layer.zero_grad()
    (layer(x) * weights).sum().backward()
    return x.grad, layer.weight.grad


@pytest.mark.parametrize("autocast", [False, True])
def test_both_products_of_the_backward_pass_take_the_quantized_gradient(autocast):
    torch.manual_seed(2)
    layer = QuantLinear(6, 4, gradient_quantizer=GradientQuant(LogQuant(5), per="sample"))
    x, weights = torch.randn(3, 6).sign(), torch.randn(3, 4) * 1e-3
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        g_x, g_weight = backward_of(layer, x, weights)
    quantized = GradientQuant(LogQuant(5), per="sample")(weights)
    assert all(is_power_of_two(g) for g in quantized.flatten().tolist())
    tolerance = {"rtol": 2**-8, "atol": 2e-6} if autocast else {"rtol": 1e-6, "atol": 1e-9}  # the sums' own rounding
    torch.testing.assert_close(g_x, quantized @ layer.quantized_weight, **tolerance)
    torch.testing.assert_close(g_weight, quantized.T @ x, **tolerance)
    torch.testing.assert_close(layer.bias.grad, weights.sum(0))  # no product, so it is left alone


@pytest.mark.parametrize("autocast", [False, True])
def test_both_products_of_a_convolution_take_the_quantized_gradient(autocast):
    torch.manual_seed(6)
    quantizer = GradientQuant(LinearQuant(4), per="sample")
    layer = QuantConv2d(2, 3, 3, padding=1, stride=2, bias=False, gradient_quantizer=quantizer)
    x, weights = torch.randn(2, 2, 6, 6).sign(), torch.randn(2, 3, 3, 3) * 1e-3
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        g_x, g_weight = backward_of(layer, x, weights)
    quantized, options = quantizer(weights), {"stride": 2, "padding": 1}
    assert not torch.equal(quantized, weights)
    tolerance = {"rtol": 2**-7, "atol": 4e-5} if autocast else {"rtol": 1e-5, "atol": 1e-8}  # the sums' own rounding
    expected = torch.nn.grad.conv2d_input(x.shape, layer.quantized_weight, quantized, **options)
    torch.testing.assert_close(g_x, expected, **tolerance)
    expected = torch.nn.grad.conv2d_weight(x, layer.weight.shape, quantized, **options)
    torch.testing.assert_close(g_weight, expected, **tolerance)


def test_the_forward_pass_is_left_alone():
    torch.manual_seed(3)
    layer = QuantLinear(6, 4, gradient_quantizer=GradientQuant())
    x = torch.randn(3, 6)
    expected = layer(x)
    layer.gradient_quantizer = None
    assert torch.equal(layer(x), expected)


def test_the_hook_is_nothing_where_there_is_no_gradient():
    x = torch.ones(2)
    assert quantize_gradient(x, GradientQuant()) is x
    with torch.no_grad():
        assert quantize_gradient(x.requires_grad_(), GradientQuant()) is x
    assert quantize_gradient(x, None) is x


def test_a_network_with_quantized_gradients_exports_and_learns():
    torch.manual_seed(4)
    x = torch.randn(128, 10).sign()
    labels = (x[:, :3].sum(1) > 0).long()
    model = nn.Sequential(
        QuantLinear(10, 32, bias=False, gradient_quantizer=GradientQuant()),
        nn.BatchNorm1d(32),
        nn.Hardtanh(),
        QuantLinear(32, 2, bias=False, gradient_quantizer=GradientQuant(LogQuant(4))),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(50):
        loss = nn.functional.cross_entropy(model(x) / 4, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(x).argmax(1) == labels).float().mean() > 0.9
    program = torch.export.export(model.eval(), (x,))
    assert torch.equal(program.module()(x), model(x))
