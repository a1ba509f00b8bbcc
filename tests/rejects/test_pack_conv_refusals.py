"""Convolutions, pools and branches without a packed form are refused with the layer's path and the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featherbit.errors import PackError
from featherbit.layers import FixedPointInput, QuantConv2d, QuantLinear
from featherbit.pack import pack
from featherbit.quantizers import DorefaActivation, LinearQuant, Lsq, Sign
from strategies_torch import Written, trained

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 4, 6, 6), dtype=np.uint8))
REALS = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 4, 6, 6)).astype(np.float32))


def conv(channels: int = 4, n: int = 4, **options: Any) -> QuantConv2d:
    return QuantConv2d(channels, n, 3, **{"padding": 1, "bias": False, **options})


def signs(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(Sign(), *layers)


def sums(*layers: nn.Module) -> nn.Module:
    """Return layers after real numbers: a batch norm of an integer sum."""
    return nn.Sequential(Sign(), conv(), nn.BatchNorm2d(4), *layers)


def stock(cls: Any, **options: Any) -> nn.Module:
    layer: nn.Module = cls(4, 4, 3, bias=False, **options)
    layer.weight.data.sign_()  # type: ignore[operator, union-attr]
    return layer


def written(function: Callable[[Any, Tensor], Tensor], **parts: nn.Module) -> nn.Module:
    return Written(function, a=conv(), b=conv(), s=Sign(), n=nn.BatchNorm2d(4), **parts)


Case = tuple[Callable[[], nn.Module], str, str]  # model, path, reason
_REFUSED: dict[str, Case] = {
    "float weights": (lambda: signs(nn.Conv2d(4, 4, 3, bias=False)), "1", "no integers of at most 8 bits"),
    "a weight that is not finite": (
        lambda: signs(with_weight(conv(weight_quantizer=nn.Identity()), torch.inf)),
        "1",
        "weights are not all finite",
    ),
    "weights of nine bits": (
        lambda: signs(with_weight(conv(weight_quantizer=nn.Identity()), 2.0)),
        "1",
        "no integers of at most 8 bits times a power of two; use QuantConv2d with a weight_quantizer",
    ),
    "a bias inside": (lambda: signs(nn.Conv2d(4, 4, 3)), "1", "bias is added inside the product.*use QuantConv2d"),
    "a transposed convolution": (
        lambda: signs(stock(nn.ConvTranspose2d)),
        "1",
        "no packed form of aten.conv_transpose",
    ),
    "an unquantized input": (lambda: conv(), "conv2d", "the float input before any quantizer"),
    "real numbers": (lambda: sums(nn.PReLU(4), conv()), "4", "real numbers computed from integers"),
    "a scaled activation outside of its layer": (
        lambda: sums(DorefaActivation(2), conv()),
        "4",
        "give the quantizer to the layer as input_quantizer",
    ),
    "circular padding": (lambda: signs(conv(padding_mode="circular")), "1", "padding of mode 'circular'"),
    "padding between two steps": (
        lambda: nn.Sequential(LinearQuant(2), conv(pad_value=0.3)),
        "1",
        "pads with 0.3, which is no multiple of the input's step 0.5",
    ),
    "padding by no code": (
        lambda: nn.Sequential(LinearQuant(2), conv(pad_value=1.0)),
        "1",
        "pad_value must be -2 to 1",
    ),
    "padding of signs by a half": (lambda: signs(conv(pad_value=2.0)), "1", "pad_value must be -1 to 1"),
    "padding twice": (
        lambda: written(lambda m, x: m.a(F.pad(m.s(x), (1, 1, 1, 1), value=1.0))),
        "a",
        "padded twice, with different values",
    ),
    "padding of channels": (
        lambda: written(lambda m, x: m.a(F.pad(m.s(x), (0, 0, 0, 0, 0, 1))[:, :4])),
        "pad",
        "pad height and width only",
    ),
    "padding of what no convolution reads": (
        lambda: written(lambda m, x: m.s(F.pad(m.s(x), (1, 1)) * 2)),
        "mul",
        "of padded codes cannot be packed",
    ),
    "a rounded-up pooling": (lambda: signs(nn.MaxPool2d(4, ceil_mode=True), conv()), "1", "ceil_mode=True"),
    "a rounded-up average": (lambda: signs(nn.AvgPool2d(4, ceil_mode=True)), "1", "ceil_mode=True"),
    "an average without its padding": (
        lambda: signs(nn.AvgPool2d(3, 1, 1, count_include_pad=False)),
        "1",
        "count_include_pad=False",
    ),
    "an average of real numbers": (lambda: sums(nn.AvgPool2d(2)), "3", "depends on the order of summation"),
    "an average of averages": (
        lambda: signs(nn.AvgPool2d(3), nn.AvgPool2d(2)),
        "2",
        "an average of averages is rounded twice",
    ),
    "an adaptive average of several places": (lambda: signs(nn.AdaptiveAvgPool2d(2)), "1", "to one place"),
    "a mean over channels": (lambda: written(lambda m, x: m.s(x).mean(1)), "mean", "only over height and width"),
    "an average that is read in float": (
        lambda: signs(nn.AvgPool2d(3), nn.BatchNorm2d(4)),
        "1",
        "an average over 9 places is rounded",
    ),
    "a quotient of two values": (
        lambda: written(lambda m, x: m.s(m.a(m.s(x)) / m.b(m.s(x)))),
        "div",
        "joins 2 computed",
    ),
    "a sum that is repeated along the image": (
        lambda: written(lambda m, x: m.s(x) + m.s(x).mean((2, 3), keepdim=True)),
        "add",
        "repeats its input along a dimension",
    ),
    "a join along the height": (
        lambda: written(lambda m, x: torch.cat([m.s(x), m.s(x)], 2)),
        "cat",
        "only channels, dimension 1, can be joined",
    ),
    "a batch that is reshaped": (
        lambda: written(lambda m, x: m.s(x).reshape(-1, 2, 6, 6)),
        "reshape|view|sign",
        "between the inputs of a batch",
    ),
    "weights computed from the input": (
        lambda: written(lambda m, x: F.conv2d(m.s(x), m.s(x)[:, :, :3, :3])),
        "conv2d",
        "its weight is computed from the input",
    ),
    "a linear layer over places": (
        lambda: signs(QuantLinear(6, 2, bias=False)),
        "1",
        r"must be \[batch, features\]",
    ),
    "codes without zero among them": (
        lambda: Written(lambda m, x: torch.ops.featherbit.round_codes(x, torch.tensor(1.0), 1, 3)),
        "round_codes",
        "must have 0 among them",
    ),
    "a step for each channel": (
        lambda: Written(lambda m, x: torch.ops.featherbit.round_codes(x, torch.ones(4, 1, 1), 0, 3)),
        "round_codes",
        "its step must be one number",
    ),
}


def with_weight(layer: QuantConv2d, value: float) -> QuantConv2d:
    layer.weight.data.fill_(1 / 128)
    layer.weight.data[0, 0, 0, 0] = value
    return layer


@pytest.mark.parametrize("what", _REFUSED)
def test_a_model_with_this_is_refused(what: str) -> None:
    make, path, reason = _REFUSED[what]
    torch.manual_seed(0)
    model = trained(make(), 1)
    if "rises and falls" in what:
        model[3].weight.data.fill_(-1.0)  # type: ignore[operator, index, union-attr]
    with pytest.raises(PackError, match=reason) as caught:
        pack(model, REALS, verify="reference")
    assert caught.value.path in path.split("|")


def test_sums_that_float32_does_not_hold_are_refused() -> None:
    model = nn.Sequential(FixedPointInput(8), QuantConv2d(4, 2, 5, padding=2, bias=False))
    pack(trained(model, 0), PIXELS, verify="reference")
    x = torch.zeros(1, 6000, 5, 5, dtype=torch.uint8)
    plain = nn.Conv2d(6000, 1, 5, bias=False)
    plain.weight.data.sign_()
    wide = nn.Sequential(FixedPointInput(8), plain)
    with pytest.raises(PackError, match=r"a sum of 150000 products can reach 19[0-9]*, past 2\^24") as caught:
        pack(trained(wide, 0), x, verify="reference")
    assert caught.value.path == "1"


def test_a_learned_step_of_an_activation_that_is_read_as_it_is_ends_in_real_numbers() -> None:
    model = trained(nn.Sequential(Sign(), conv(), nn.BatchNorm2d(4), Lsq(2, signed=False)), 1)
    graph = pack(model, REALS, verify="reference")
    assert graph.types[graph.output].element == "float32"
