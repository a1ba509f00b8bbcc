"""Layers: the quantized product, the 8-bit input, the loss."""

import pytest
import torch

from featherbit.errors import InputError
from featherbit.layers import FixedPointInput, QuantLinear, SquareHingeLoss
from featherbit.models import Mlp
from featherbit.quantizers import LinearQuant, Sign, StochasticSign
from oracles_training import fixed_point, sign_of, square_hinge


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_quant_linear_multiplies_by_the_sign_of_the_latent_weight():
    layer = QuantLinear(5, 3, bias=False)
    x = torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0]])
    signs = [[sign_of(w) for w in row] for row in layer.weight.tolist()]
    expected = [sum(s * v for s, v in zip(row, x[0].tolist(), strict=True)) for row in signs]
    assert layer.quantized_weight.tolist() == signs
    assert layer(x).tolist() == [expected]


def test_the_bias_is_added_after_the_product_and_the_input_quantized_before():
    layer = QuantLinear(2, 1, input_quantizer=Sign())
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.5]]))
        layer.bias.fill_(0.25)
    assert layer(torch.tensor([[7.0, 0.0]])).tolist() == [[1.0 - 1.0 + 0.25]]


def test_the_latent_weight_gets_the_gradient_of_the_binary_one():
    layer = QuantLinear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -3.0]]))  # outside any window: weights have none
    layer(torch.tensor([[2.0, 5.0]])).sum().backward()
    assert layer.weight.grad.tolist() == [[2.0, 5.0]]


def test_the_gradient_quantizer_acts_on_the_outputs_gradient():
    layer = QuantLinear(1, 1, bias=False, gradient_quantizer=LinearQuant(2))
    x = torch.ones(1, 1, requires_grad=True)
    (layer(x) * 0.3).sum().backward()
    assert abs(x.grad.item()) == fixed_point(0.3, 2) == 0.5


def test_latent_weights_start_uniform_in_minus_one_to_one():
    weight = QuantLinear(300, 200).weight
    assert weight.abs().max() <= 1
    assert weight.mean().abs() < 5 * (1 / 3) ** 0.5 / 60_000**0.5  # five standard errors
    assert (weight.var() - 1 / 3).abs() < 0.01
    assert QuantLinear(3, 2).bias.tolist() == [0.0, 0.0]


def test_under_bfloat16_autocast_the_result_is_float32():
    layer = QuantLinear(4, 2, bias=False)
    x = torch.ones(1, 4)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(x)
    assert result.dtype == torch.float32
    assert torch.equal(result, exact)  # sums up to 4 are exact in bfloat16


def test_eight_bit_input_maps_codes_and_floats_to_the_same_grid():
    codes = torch.arange(256, dtype=torch.uint8)
    values = FixedPointInput()(codes)
    assert values.tolist() == [(u - 128) / 128 for u in range(256)]
    assert torch.equal(FixedPointInput()(values), values)
    assert FixedPointInput()(torch.tensor([0.503])).tolist() == [fixed_point(0.503, 8)]


def test_eight_bit_input_refuses_other_integers():
    with pytest.raises(InputError, match=r"must be uint8 or a float type, got torch\.int64"):
        FixedPointInput()(torch.zeros(3, dtype=torch.int64))


def test_eight_bit_input_can_still_be_cast_like_any_module():
    assert FixedPointInput().half().training


def test_square_hinge_equals_the_oracle():
    scores = torch.randn(7, 4)
    labels = torch.tensor([0, 3, 1, 1, 2, 0, 3])
    expected = square_hinge(scores.tolist(), labels.tolist())
    assert SquareHingeLoss()(scores, labels).item() == pytest.approx(expected, rel=1e-6)  # float32 mean of 28 terms


def test_square_hinge_gives_no_gradient_past_the_margin():
    scores = torch.tensor([[2.0, -3.0, 0.0]], requires_grad=True)
    SquareHingeLoss()(scores, torch.tensor([0])).backward()
    assert scores.grad.tolist() == [[0.0, 0.0, pytest.approx(2 / 3)]]


def test_the_perceptron_has_the_papers_order_and_batch_norm():
    model = Mlp(12, 5, 2, 3, input_dropout=0.2, hidden_dropout=0.5, activation_quantizer=StochasticSign(window=0.5))
    names = [name for name, _ in model.named_children()]
    hidden = [f"{part}{i}" for i in (1, 2) for part in ("linear", "norm", "sign", "dropout")]
    assert names == ["input", "flatten", "dropout0", *hidden, "linear3", "norm3"]
    assert (model.norm3.eps, model.norm3.momentum) == (1e-4, 0.1)
    assert model.sign1 is not model.sign2
    assert model.sign2.window == 0.5
    assert model(torch.zeros(4, 3, 4, dtype=torch.uint8)).shape == (4, 3)


def test_an_exported_perceptron_takes_any_batch_and_shows_its_quantizers():
    model = Mlp(6, 4, 1, 2, activation_quantizer=StochasticSign()).eval()
    batch = torch.export.Dim("batch", min=1)
    example = torch.zeros(2, 2, 3, dtype=torch.uint8)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
    targets = [str(node.target) for node in program.graph.nodes]
    assert targets.count("featherbit.sign.default") == 3  # two weights, one activation
    image = torch.full((5, 2, 3), 9, dtype=torch.uint8)
    assert torch.equal(program.module()(image), model(image))
