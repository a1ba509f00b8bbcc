"""Convolutions against their definition in plain Python; codes and scales; learned shifts."""

import pytest
import torch
from torch import nn

from featherbit.errors import InputError
from featherbit.layers import ChannelShift, QuantConv1d, QuantConv2d, QuantLinear, RPReLU
from featherbit.quantizers import (
    DorefaActivation,
    DorefaWeight,
    Identity,
    LinearQuant,
    Lsq,
    Sign,
    Ternary,
    UnsignedQuant,
)
from oracles_quantizers import convolve
from oracles_training import sign_of


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def signs_of(tensor):
    return torch.tensor([sign_of(v) for v in tensor.flatten().tolist()]).view(tensor.shape).tolist()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": (2, 1)},
        {"stride": (2, 1), "padding": (1, 1)},
        {"dilation": (1, 2), "padding": (0, 2)},
        {"groups": 2},
        {"groups": 4, "padding": (1, 0)},
        {"padding": (1, 2), "pad_value": 1.0},
        {"padding": (2, 2), "pad_value": -1.0, "stride": (1, 2)},
    ],
)
def test_a_binary_convolution_equals_its_definition(options):
    layer = QuantConv2d(4, 4, (3, 2), bias=False, input_quantizer=Sign(), **options)
    x = torch.randn(1, 4, 5, 6)
    expected = convolve(signs_of(x[0]), signs_of(layer.weight), **options)
    assert layer(x)[0].tolist() == expected


def test_a_1d_convolution_is_a_2d_one_of_height_one():
    layer = QuantConv1d(3, 2, 3, stride=2, padding=2, dilation=2, bias=False, input_quantizer=Sign(), pad_value=-1)
    x = torch.randn(1, 3, 9)
    expected = convolve(
        [[row] for row in signs_of(x[0])],
        [[[row] for row in part] for part in signs_of(layer.weight)],
        stride=(1, 2),
        padding=(0, 2),
        dilation=(1, 2),
        pad_value=-1.0,
    )
    # the definition pads the single row's left and right only, as padding=(0, 2) says
    assert layer(x)[0].tolist() == [part[0] for part in expected]


def test_the_bias_is_added_to_each_channel_after_the_product():
    layer = QuantConv2d(1, 2, 1, input_quantizer=Sign())
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, -0.5]).view(2, 1, 1, 1))
        layer.bias.copy_(torch.tensor([0.25, 10.0]))
    assert layer(torch.ones(1, 1, 1, 2)).tolist() == [[[[1.25, 1.25]], [[9.0, 9.0]]]]


def test_same_padding_and_other_padding_modes_work_as_torchs():
    x = torch.randn(2, 3, 6, 7)
    for options in ({"padding": "same"}, {"padding": "valid"}, {"padding": 1, "padding_mode": "circular"}):
        ours = QuantConv2d(3, 4, 3, bias=False, weight_quantizer=Identity(), **options)
        theirs = nn.Conv2d(3, 4, 3, bias=False, **options)
        theirs.load_state_dict(ours.state_dict())
        assert torch.allclose(ours(x), theirs(x), atol=1e-6)  # padded in another place, summed in another order


@pytest.mark.parametrize(
    "make", [lambda q: QuantConv2d(2, 3, 3, weight_quantizer=q), lambda q: QuantLinear(9, 3, weight_quantizer=q)]
)
def test_a_float_layer_starts_as_torchs_does(make):
    layer = make(Identity())
    assert 0 < layer.weight.abs().max() <= 1.0 / (layer.weight[0].numel()) ** 0.5
    assert make(None).weight.abs().max() > 0.5


@pytest.mark.parametrize(
    ("weight", "source"),
    [
        (lambda: Lsq(2, channels=3), lambda: Lsq(2, signed=False)),
        (lambda: Lsq(4), lambda: UnsignedQuant(4)),
        (lambda: DorefaWeight(3), lambda: DorefaActivation(2)),
        (lambda: Ternary(), lambda: LinearQuant(3)),
        (lambda: Lsq(2, narrow=True), lambda: Sign()),
    ],
)
@pytest.mark.parametrize("kind", ["conv1d", "conv2d", "linear"])
def test_the_product_of_codes_is_the_product_of_values(kind, weight, source):
    options = {"input_quantizer": source(), "weight_quantizer": weight()}
    if kind == "linear":
        layer, x, plain = QuantLinear(8, 3, **options), torch.randn(5, 8), nn.functional.linear
    elif kind == "conv1d":
        layer, x, plain = QuantConv1d(4, 3, 2, **options), torch.randn(5, 4, 6), nn.functional.conv1d
    else:
        layer, x, plain = QuantConv2d(4, 3, 2, **options), torch.randn(5, 4, 6, 3), nn.functional.conv2d
    expected = plain(layer.input_quantizer(x), layer.quantized_weight, layer.bias)
    assert torch.allclose(layer(x), expected, atol=1e-5)  # scaled before or after a float32 sum


def test_the_sums_of_codes_are_whole_numbers_in_any_order():
    layer = QuantConv2d(64, 8, 3, bias=False, input_quantizer=DorefaActivation(4), weight_quantizer=DorefaWeight(4))
    x = torch.rand(2, 64, 8, 8)
    sums = nn.functional.conv2d(
        layer.input_quantizer.codes(x).double(), layer.weight_quantizer.codes(layer.weight).double()
    )
    scale = layer.input_quantizer.scale * layer.weight_quantizer.scale
    assert torch.equal(layer(x), sums.float() * scale)
    shuffled = torch.randperm(64)
    with torch.no_grad():
        layer.weight.copy_(layer.weight[:, shuffled])
    assert torch.equal(layer(x[:, shuffled]), sums.float() * scale)


def test_the_step_of_a_layers_quantizers_gets_the_gradient_of_their_values():
    layer = QuantConv2d(2, 3, 2, bias=False, input_quantizer=Lsq(2, signed=False), weight_quantizer=Lsq(3, channels=3))
    x = torch.rand(4, 2, 5, 5) * 3
    upstream = torch.randn(4, 3, 4, 4)
    (layer(x) * upstream).sum().backward()
    by_codes = [layer.input_quantizer.step.grad.clone(), layer.weight_quantizer.step.grad.clone()]
    layer.zero_grad()
    (nn.functional.conv2d(layer.input_quantizer(x), layer.quantized_weight) * upstream).sum().backward()
    by_values = [layer.input_quantizer.step.grad, layer.weight_quantizer.step.grad]
    for one, other in zip(by_codes, by_values, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)  # the same derivative, other float32 sums


def test_under_bfloat16_autocast_the_result_is_float32():
    layer = QuantConv2d(2, 2, 2, bias=False, input_quantizer=Sign())
    x = torch.randn(1, 2, 4, 4)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(x)
    assert result.dtype == torch.float32
    assert torch.equal(result, exact)  # sums up to 8 are exact in bfloat16


def test_the_gradient_quantizer_acts_on_the_outputs_gradient():
    layer = QuantConv2d(1, 1, 1, bias=False, gradient_quantizer=LinearQuant(2))
    x = torch.ones(1, 1, 1, 1, requires_grad=True)
    (layer(x) * 0.3).sum().backward()
    assert abs(x.grad.item()) == 0.5


def test_a_pad_value_that_means_nothing_is_refused():
    with pytest.raises(InputError, match=r"pad_value 1\.0 needs padding_mode 'zeros'"):
        QuantConv2d(1, 1, 3, padding=1, padding_mode="reflect", pad_value=1.0)
    with pytest.raises(InputError, match="input quantizer without a scale"):
        QuantConv1d(1, 1, 3, padding=1, input_quantizer=DorefaActivation(2), pad_value=1.0)


def test_rprelu_equals_its_formula_and_learns_all_its_parts():
    layer = RPReLU(3)
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.copy_(torch.tensor([0.5, -1.0, 0.25]) + i)
    x = torch.randn(2, 3, 4, 5)
    result = layer(x)
    result.sum().backward()
    shift_in, slope, shift_out = layer.shift_in.tolist(), layer.slope.tolist(), layer.shift_out.tolist()
    for channel in range(3):
        moved = [v - shift_in[channel] for v in x[:, channel].flatten().tolist()]
        expected = [(v if v > 0 else slope[channel] * v) + shift_out[channel] for v in moved]
        assert result[:, channel].flatten().tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)  # float32
    assert all(parameter.grad.abs().min() > 0 for parameter in layer.parameters())


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_shifts_are_per_channel_for_any_number_of_places(shape):
    layer = ChannelShift(3)
    with torch.no_grad():
        layer.shift.copy_(torch.tensor([1.0, 2.0, 3.0]))
    shifted = layer(torch.zeros(shape))
    assert [shifted[:, c].unique().tolist() for c in range(3)] == [[1.0], [2.0], [3.0]]
    assert RPReLU(3)(torch.zeros(shape)).shape == shape
