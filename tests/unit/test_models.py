"""Architectures: order, sizes, shortcuts, and what the quantizers of each layer are."""

import pytest
import torch
from torch import nn

from featherbit.errors import InputError
from featherbit.layers import QuantConv2d, QuantLinear, RPReLU
from featherbit.models import ConvNet, ResNet, VggSmall, resnet18, resnet20
from featherbit.models._resnet import ResidualConv, ShrinkingShortcut
from featherbit.quantizers import Identity, LinearQuant, Lsq, Sign, UnsignedQuant


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def images(size=8, batch=4):
    return torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)


def assert_every_parameter_learns(model, x):
    model.train()(x).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def assert_exported_equals_eager(model, x):
    model.eval()
    with torch.no_grad():
        program = torch.export.export(model, (x[:2],))
        assert torch.equal(program.module()(x[:2]), model(x[:2]))


def test_the_convnet_has_the_papers_shape():
    with torch.device("meta"):
        model = ConvNet((3, 32, 32), 10)
    weights = {name: tuple(p.shape) for name, p in model.named_parameters() if p.ndim > 1}
    assert list(weights.values()) == [
        (128, 3, 3, 3),
        (128, 128, 3, 3),
        (256, 128, 3, 3),
        (256, 256, 3, 3),
        (512, 256, 3, 3),
        (512, 512, 3, 3),
        (1024, 8192),
        (1024, 1024),
        (10, 1024),
    ]
    assert (model.norm1.eps, model.norm9.momentum) == (1e-4, 0.1)


def test_the_convnet_pools_before_the_batch_norm_and_the_sign():
    names = [name for name, _ in ConvNet((3, 8, 8), 10, channels=[4, 4], dense_features=[6]).named_children()]
    assert names[4:9] == ["conv2", "pool2", "norm2", "act2", "conv3"]
    assert names[-6:] == ["flatten", "linear5", "norm5", "act5", "linear6", "norm6"]


def test_a_quantizer_with_a_scale_of_its_own_sits_in_the_next_layer():
    model = ConvNet((3, 4, 4), 2, channels=[4], dense_features=[5], activation=Lsq(2, signed=False))
    layers = [m for m in model if isinstance(m, (QuantConv2d, QuantLinear))]
    assert [layer.input_quantizer is None for layer in layers] == [True, False, False, False]
    assert len({id(layer.input_quantizer) for layer in layers[1:]}) == 3
    assert not any(name.startswith("act") for name, _ in model.named_children())
    assert_every_parameter_learns(model, images(4))


def test_the_float_twin_differs_in_quantizers_alone():
    options = {"channels": [4], "dense_features": [5]}
    twin = ConvNet((3, 4, 4), 2, weight_quantizer=Identity(), activation=nn.ReLU(), **options)
    binary = ConvNet((3, 4, 4), 2, **options)
    assert {n: p.shape for n, p in twin.named_parameters()} == {n: p.shape for n, p in binary.named_parameters()}
    assert_every_parameter_learns(twin, images(4))


def test_non_square_images_are_taken_and_impossible_ones_refused():
    model = ConvNet((1, 8, 12), 3, channels=[2, 2], dense_features=[])
    assert model.eval()(torch.zeros(2, 1, 8, 12, dtype=torch.uint8)).shape == (2, 3)
    with pytest.raises(InputError, match=r"3 poolings need images .* at least 8 pixels a side, got \[3, 4, 32\]"):
        ConvNet((3, 4, 32), 10)
    with pytest.raises(InputError, match=r"got \[28, 28\]"):
        ConvNet((28, 28), 10)


def test_vgg_small_has_eight_bits_in_its_first_and_last_layer_only():
    model = VggSmall((3, 8, 8), 10, channels=(4, 4, 8))
    quantizers = [m.weight_quantizer for m in model if isinstance(m, (QuantConv2d, QuantLinear))]
    assert [q.format.bits for q in quantizers] == [8, 1, 1, 1, 1, 1, 8]
    assert_every_parameter_learns(model, images())
    assert_exported_equals_eager(model, images())


@pytest.mark.parametrize(
    ("make", "convolutions", "shrinking", "parameters"),
    [
        # 16 and 18 binary convolutions; weights: stem, 3 x 3, 1 x 1 and linear, counted by hand
        (lambda: resnet18(1000), 16, 3, 9408 + 10_985_472 + 172_032 + 512_000),
        (lambda: resnet18(10, stem="cifar"), 16, 3, 1728 + 10_985_472 + 172_032 + 5120),
        (lambda: resnet20(), 18, 2, 432 + 267_264 + 2560 + 640),
    ],
)
def test_residual_networks_have_a_shortcut_around_every_binary_convolution(make, convolutions, shrinking, parameters):
    with torch.device("meta"):
        model = make()
    blocks = [m for m in model.modules() if isinstance(m, ResidualConv)]
    assert len(blocks) == convolutions
    assert sum(isinstance(m, ShrinkingShortcut) for m in model.modules()) == shrinking
    assert sum(p.numel() for p in model.parameters() if p.ndim > 1) == parameters
    assert all(isinstance(block.conv.input_quantizer, Sign) for block in blocks)


def test_a_residual_convolution_equals_its_formula():
    block = ResidualConv(4, 4, 1, Sign(None), Sign()).eval()
    with torch.no_grad():
        for parameter in (*block.shift.parameters(), *block.act.parameters()):
            parameter.normal_()
        x = torch.randn(2, 4, 5, 5)
        signs = (x + block.shift.shift.view(4, 1, 1) >= 0).float() * 2 - 1
        product = nn.functional.conv2d(signs, (block.conv.weight >= 0).float() * 2 - 1, padding=1)
        total = product / (1 + 1e-5) ** 0.5 + x  # fresh statistics: mean 0, variance 1
        moved = total - block.act.shift_in.view(4, 1, 1)
        expected = torch.where(moved > 0, moved, moved * block.act.slope.view(4, 1, 1))
        assert torch.allclose(block(x), expected + block.act.shift_out.view(4, 1, 1), atol=1e-5)  # float32


def test_a_shrinking_shortcut_multiplies_eight_bit_averages_of_eight_bit_values():
    shortcut = ShrinkingShortcut(2, 3, 2).eval()
    x = torch.randn(2, 2, 4, 6) * 4
    seen = {}
    shortcut.conv.register_forward_hook(lambda module, inputs, output: seen.update(x=inputs[0], sums=output))
    assert shortcut(x).shape == (2, 3, 2, 3)
    values = (x * 16).round().clamp(-128, 127) / 128  # steps of 1/16, fixed point after the division by 8
    assert torch.equal(seen["x"], nn.functional.avg_pool2d(values, 2))
    assert torch.equal(seen["sums"] * 2**14, (seen["sums"] * 2**14).round())


@pytest.mark.parametrize(
    "quantizers", [(None, None), (LinearQuant(2), UnsignedQuant(2)), (Lsq(2), Lsq(2, signed=False))]
)
def test_residual_networks_learn_and_can_be_captured_at_any_width(quantizers):
    weight, activation = quantizers
    model = ResNet(5, [4, 8], [1, 1], "imagenet", weight_quantizer=weight, activation=activation)
    assert_every_parameter_learns(model, images(16))
    assert any(isinstance(m, RPReLU) for m in model.stem)
    assert_exported_equals_eager(model, images(16))


def test_every_sum_of_the_last_layer_is_a_sum_of_codes():
    model = ResNet(5, [4], [1], "cifar").eval()
    seen = {}
    model.linear.register_forward_hook(lambda module, inputs, output: seen.update(sums=output))
    model(images(8))
    steps = seen["sums"] * 2.0**15  # 2^-8 of the features times 2^-7 of the weights
    assert torch.equal(steps, steps.round())
    assert 512 * 255 * 128 <= 2**24  # the bound that keeps such sums exact, at the widest


def test_blocks_and_widths_must_pair():
    with pytest.raises(InputError, match="each width needs a number of blocks"):
        ResNet(10, [4, 8], [1], "cifar")
