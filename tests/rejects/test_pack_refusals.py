"""What has no packed form is refused with the layer's path and the reason; nothing is packed wrongly in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherbit.errors import PackError
from featherbit.layers import FixedPointInput, QuantLinear
from featherbit.models import Mlp
from featherbit.pack import pack
from featherbit.quantizers import Sign

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8))
REALS = torch.from_numpy(np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32))


class Written(nn.Module):
    """A model whose forward is a function, with some layers and buffers."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **parts: nn.Module | Tensor) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, Tensor):
                self.register_buffer(name, part)
            else:
                self.add_module(name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def product(k: int = 8, n: int = 4) -> QuantLinear:
    return QuantLinear(k, n, bias=False)


def after_a_product(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(FixedPointInput(), product(), nn.BatchNorm1d(4), *layers)


def binary_linear() -> nn.Linear:
    layer = nn.Linear(8, 4)
    layer.weight.data.sign_()
    return layer


def mapped(x: Tensor) -> Tensor:
    return (x.float() - 128) / 128


Case = tuple[Callable[[], nn.Module], Tensor, str, str]  # model, example, path, reason
_REFUSED: dict[str, Case] = {
    "float weights": (
        lambda: nn.Sequential(FixedPointInput(), nn.Linear(8, 4, bias=False)),
        PIXELS,
        "1",
        "no integers of at most 8 bits times a power of two; use QuantLinear",
    ),
    "a bias inside the product": (
        lambda: nn.Sequential(FixedPointInput(), binary_linear()),
        PIXELS,
        "1",
        "bias is added inside the product",
    ),
    "sigmoid": (lambda: after_a_product(nn.Sigmoid(), product(4, 2)), PIXELS, "3", "no packed form of aten.sigmoid"),
    "gelu": (lambda: after_a_product(nn.GELU(), product(4, 2)), PIXELS, "3", "no packed form of aten.gelu"),
    "layer norm": (lambda: after_a_product(nn.LayerNorm(4), Sign()), PIXELS, "3", "no packed form of aten.layer_norm"),
    "no quantizer": (
        lambda: after_a_product(nn.ReLU(), product(4, 2)),
        PIXELS,
        "4",
        "put a quantizer .Sign. before it",
    ),
    "an unquantized input": (lambda: nn.Sequential(product()), REALS, "0", "the float input before any quantizer"),
    "a convolution": (
        lambda: nn.Sequential(FixedPointInput(), nn.Conv2d(1, 1, 3)),
        torch.zeros(2, 1, 8, 8, dtype=torch.uint8),
        "1",
        "its bias is added inside the product",
    ),
    "pixels from -1 to 1": (
        lambda: Written(lambda m, x: m.a(x.float() * 2 / 255 - 1), a=product()),
        PIXELS,
        "a",
        "map pixels with FixedPointInput",
    ),
    "two outputs": (
        lambda: Written(lambda m, x: (m.a(mapped(x)), m.b(mapped(x))), a=product(), b=product()),
        PIXELS,
        "",
        "returns 2",
    ),
    "another input dtype": (
        lambda: Mlp(8, 4, 1, 2),
        PIXELS.long(),
        "",
        "must be uint8 or a float type, got torch.int64",
    ),
    "a float64 input": (
        lambda: nn.Sequential(Sign()),
        REALS.double(),
        "",
        "must be uint8, float32 or, of a model with a memory, tokens, got torch.float64",
    ),
    "no input at all": (lambda: Mlp(8, 4, 1, 2), PIXELS[:0], "", "a batch of at least one"),
    "an example without a batch": (lambda: Mlp(8, 4, 1, 2), PIXELS[0], "", "a batch of at least one"),
    "a forward that torch.export cannot capture": (
        lambda: Written(lambda m, x: m.a(mapped(x)) if x.numpy().sum() > 0 else x, a=product()),
        PIXELS,
        "",
        "torch.export cannot capture",
    ),
    "a quotient of two values": (
        lambda: Written(lambda m, x: m.s(m.a(mapped(x)) / m.a(mapped(x))), a=product(), s=Sign()),
        PIXELS,
        "div_2",
        "joins 2 computed values",
    ),
    "a batch norm of the batch's own statistics": (
        lambda: Written(
            lambda m, x: m.s(m.n(m.a(mapped(x)))), a=product(), n=nn.BatchNorm1d(4, track_running_stats=False), s=Sign()
        ),
        PIXELS,
        "n",
        "no running statistics",
    ),
    "a square": (
        lambda: Written(lambda m, x: m.s(square(m.a(mapped(x)))), a=product(), s=Sign()),
        PIXELS,
        "s",
        "more than once",
    ),
}


def square(y: Tensor) -> Tensor:
    return y * y - 0.1


@pytest.mark.parametrize("what", _REFUSED)
def test_a_model_with_this_is_refused(what: str) -> None:
    make, x, path, reason = _REFUSED[what]
    torch.manual_seed(0)
    with pytest.raises(PackError, match=reason) as caught:
        pack(make(), x, verify="reference")
    assert caught.value.path == path


_WRONGLY_TAKEN: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "a mean for each pixel": (
        lambda: Written(lambda m, x: m.a((x.float() - m.mean) / 128), a=product(), mean=torch.arange(120.0, 128.0)),
        PIXELS,
    ),
    "a sign for each activation": (
        lambda: Written(
            lambda m, x: m.b(m.s(m.a(mapped(x))) * m.mask),
            a=product(),
            b=product(4, 2),
            s=Sign(),
            mask=torch.tensor([1.0, -1.0, 1.0, -1.0]),
        ),
        PIXELS,
    ),
    "a batch norm of pixels": (
        lambda: Written(lambda m, x: m.a(m.n(x.float())), a=product(), n=nn.BatchNorm1d(8)),
        PIXELS,
    ),
    "a constant of the captured batch size": (
        lambda: Written(lambda m, x: m.s(m.a(mapped(x)) + m.shift), a=product(), s=Sign(), shift=torch.ones(2, 4)),
        PIXELS,
    ),
    "nothing but a reshape": (lambda: nn.Flatten(), PIXELS.reshape(6, 2, 4)),
}


@pytest.mark.parametrize("what", _WRONGLY_TAKEN)
def test_a_model_with_this_is_refused_before_it_is_compared(what: str) -> None:
    make, x = _WRONGLY_TAKEN[what]
    torch.manual_seed(0)
    with pytest.raises(PackError):
        pack(make(), x, verify=False)


def test_an_example_of_any_memory_layout_is_taken() -> None:
    torch.manual_seed(0)
    model = Mlp(8, 4, 1, 2)
    expected = pack(model, PIXELS)
    pixels = PIXELS.numpy().copy()
    pixels.setflags(write=False)
    for example in (pixels, pixels[::-1], np.asfortranarray(pixels)):
        assert pack(model, example) == expected


def test_a_computed_constant_added_to_the_output_is_folded() -> None:
    torch.manual_seed(0)
    pack(Written(lambda m, x: m.a(mapped(x)) + m.shift.neg(), a=product(), shift=torch.arange(4.0)), PIXELS)
