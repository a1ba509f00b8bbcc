"""A trained network against its packed form: how long each takes for some images.

The peer is what a careful user would deploy with torch alone: plain float32 layers with the quantized weights, batch
norm folded in, no quantizer left, the pixels converted before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval

from ..errors import InputError
from ..layers import FixedPointInput, QuantLinear
from ..quantizers import Sign
from ..runtime import Session
from ._measure import DEFAULT_BUDGET, Budget, Comparison, compare


class _SignInPlace(nn.Module):
    """`torch.sign`, which differs from `Sign` at zero alone and is the fastest that torch has."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sign_()


def compare_trained(
    model: nn.Sequential, session: Session, images: Tensor, *, threads: int = 1, budget: Budget = DEFAULT_BUDGET
) -> Comparison:
    """Time a packed network against the same network in plain torch float32.

    Args:
        model: the trained network.
        session: the packed one.
        images: uint8 `[B, *image]`, one batch.
        threads: of both.
        budget: how long.

    Raises:
        InputError: the model has a layer that has no plain float32 form here.
    """
    plain = plain_float32(model)
    pixels = images.numpy()
    real = FixedPointInput()(images)

    @torch.inference_mode()
    def peer() -> Tensor:
        scores: Tensor = plain(real)
        return scores

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return compare(lambda: session.run(pixels, threads=threads), {"torch float32": peer}, budget)["torch float32"]
    finally:
        torch.set_num_threads(before)


def plain_float32(model: nn.Sequential) -> nn.Sequential:
    """Return the network as plain torch layers with batch norm folded.

    The conversion of the input and dropout are left out.

    Args:
        model: a chain of the layers of `models.Mlp`, in eval mode.

    Raises:
        InputError: another kind of layer, or batch norm that does not follow a linear layer.
    """
    plain: list[nn.Module] = []
    for name, layer in model.named_children():
        if isinstance(layer, nn.BatchNorm1d):
            if not (plain and isinstance(plain[-1], nn.Linear)):
                raise InputError(f"{name}: batch norm must follow a linear layer to be folded into it")
            plain[-1] = fuse_linear_bn_eval(plain[-1], layer)
        else:
            plain += _plain_layer(name, layer)
    return nn.Sequential(*plain).eval()


def _plain_layer(name: str, layer: nn.Module) -> list[nn.Module]:
    for kind, convert in _CONVERSIONS.items():
        if isinstance(layer, kind):
            return convert(layer)
    raise InputError(f"{name}: {type(layer).__name__} has no plain float32 form here")


def _plain_linear(layer: nn.Module) -> list[nn.Module]:
    assert isinstance(layer, QuantLinear)
    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    with torch.no_grad():
        plain.weight.copy_(layer.quantized_weight)
        if layer.bias is not None:
            plain.bias.copy_(layer.bias)
    return [plain.eval()]


_CONVERSIONS: dict[type[nn.Module], Callable[[nn.Module], list[nn.Module]]] = {
    QuantLinear: _plain_linear,
    Sign: lambda layer: [_SignInPlace()],
    nn.Flatten: lambda layer: [layer],
    FixedPointInput: lambda layer: [],
    nn.Dropout: lambda layer: [],
}
