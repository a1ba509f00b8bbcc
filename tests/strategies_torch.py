"""Hypothesis strategy for small torch networks with convolutions, pools, k bits and branches, as a user writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

from featherbit.layers import FixedPointInput, QuantConv1d, QuantConv2d, QuantLinear, RPReLU
from featherbit.quantizers import (
    DorefaActivation,
    DorefaWeight,
    LinearQuant,
    Lsq,
    Sign,
    Ternary,
    UnsignedQuant,
)

GRIDS: list[Callable[[], nn.Module]] = [  # their numbers are a power of two apart
    Sign,
    Sign,
    lambda: LinearQuant(2),
    lambda: LinearQuant(4),
    lambda: UnsignedQuant(2),
    lambda: UnsignedQuant(8),
]
SCALED: list[Callable[[], nn.Module]] = [lambda: DorefaActivation(2), lambda: Lsq(3, signed=False), lambda: Lsq(2)]
WEIGHTS: list[Callable[[int], nn.Module]] = [
    lambda n: Sign(window=None),
    lambda n: Sign(window=None),
    lambda n: LinearQuant(2),
    lambda n: LinearQuant(8),
    lambda n: Ternary(),
    lambda n: DorefaWeight(3),
    lambda n: Lsq(2, narrow=True),
    lambda n: Lsq(4, channels=n),
]


class Written(nn.Module):
    """A layer whose forward is a function of itself and its input."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        """Return what the function gives."""
        return self.function(self, x)


def trained(model: nn.Module, seed: int) -> nn.Module:
    """Give norms, biases and slopes the values of a trained network: any sign, no channel like another."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.weight.data.normal_(generator=generator)
            module.bias.data.normal_(generator=generator)
            module.running_mean.normal_(0, 3, generator=generator)
            module.running_var.uniform_(0.1, 9, generator=generator)
        elif isinstance(module, RPReLU | nn.PReLU):
            for parameter in module.parameters():
                parameter.data.uniform_(0.05, 0.9, generator=generator)
        elif isinstance(module, QuantConv1d | QuantConv2d | QuantLinear) and module.bias is not None:
            module.bias.data.normal_(0, 3, generator=generator)
    return model.eval()


@dataclass
class NetBuilder:
    """Layers one after the other; `shape` is that of the values so far, without the batch."""

    draw: st.DrawFn
    shape: tuple[int, ...]
    layers: list[nn.Module] = field(default_factory=list)

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def pick(self, choices: list[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def add(self, layer: nn.Module) -> None:
        """Append a layer and follow its shape; torch's own layers check the rest."""
        with torch.no_grad():
            self.shape = tuple(layer.eval()(torch.zeros(2, *self.shape)).shape[1:])
        self.layers.append(layer)

    def conv(self, same_shape: bool = False) -> nn.Module:
        channels, places = self.shape[0], self.shape[1:]
        groups = self.pick([g for g in (1, 1, 2, channels) if channels % g == 0])
        n = channels if same_shape else groups * self.integer(1, 4)
        cls = QuantConv2d if len(places) == 2 else QuantConv1d
        kernel = [self.pick([k for k in (1, 2, 3) if k <= size and (k % 2 or not same_shape)]) for size in places]
        dilation = [
            self.integer(1, 2) if k > 1 and 2 * (k - 1) < size else 1 for k, size in zip(kernel, places, strict=True)
        ]
        padding: Any = "same" if same_shape else [self.integer(0, 2) for _ in places]
        source = self.pick(GRIDS + SCALED)()
        pad_value = 0.0 if hasattr(source, "codes") or same_shape else self.pick([0.0, 0.0, 0.5, -1.0])
        if isinstance(source, Sign) and pad_value == 0.5:
            pad_value = 1.0
        if isinstance(source, UnsignedQuant) and pad_value < 0:
            pad_value = 0.25
        return cls(
            channels,
            n,
            kernel,  # type: ignore[arg-type]
            stride=1 if same_shape else [self.integer(1, 2) for _ in places],  # type: ignore[arg-type]
            padding=padding,
            dilation=dilation,  # type: ignore[arg-type]
            groups=groups,
            bias=self.draw(st.booleans()),
            input_quantizer=source,
            weight_quantizer=self.pick(WEIGHTS)(n),
            pad_value=pad_value,
        )

    def norm(self) -> nn.Module:
        return nn.BatchNorm2d(self.shape[0]) if len(self.shape) == 3 else nn.BatchNorm1d(self.shape[0])

    def activation(self) -> nn.Module:
        inplace = self.draw(st.booleans())
        return self.pick(
            [
                lambda: nn.ReLU(inplace=inplace),
                lambda: nn.Hardtanh(inplace=inplace),
                lambda: nn.LeakyReLU(0.25),
                lambda: nn.PReLU(self.shape[0]),
                lambda: RPReLU(self.shape[0]),
                lambda: nn.ReLU6(),
            ]
        )()

    def max_pool(self) -> nn.Module:
        places = self.shape[1:]
        kernel = [self.integer(1, min(3, size)) for size in places]
        padding = [self.integer(0, k // 2) for k in kernel]
        cls = nn.MaxPool2d if len(places) == 2 else nn.MaxPool1d
        return cls(kernel, self.pick([1, 2, None]), padding)

    def average(self) -> nn.Module:
        places = self.shape[1:]
        kernel = [self.integer(1, min(3, size)) for size in places]
        cls = nn.AvgPool2d if len(places) == 2 else nn.AvgPool1d
        return nn.Sequential(self.pick(GRIDS)(), cls(kernel, self.pick([1, None])), self.pick(GRIDS)())

    def branch(self) -> nn.Module:
        parts = [self.conv(same_shape=True), *([self.norm()] if self.draw(st.booleans()) else [])]
        inner = nn.Sequential(*parts)
        kind = self.pick(["add", "add", "codes", "cat"])
        if kind == "add":
            return Written(lambda m, x: m.inner(x) + x, inner=inner)
        if kind == "codes":
            return Written(lambda m, x: _added(m, m.quantizer(x)), inner=inner, quantizer=self.pick(GRIDS)())
        return Written(lambda m, x: torch.cat([x, m.inner(x)], 1), inner=inner)

    def movement(self) -> nn.Module:
        functions: list[Callable[[Any, Tensor], Tensor]] = [
            lambda m, x: x.flip(1),
            lambda m, x: x.transpose(1, 2).contiguous(),
            lambda m, x: x[:, :, 1:] if x.shape[2] > 1 else x,
            lambda m, x: torch.cat(list(x.chunk(2, 1))[::-1], 1),
            lambda m, x: F.dropout(x.reshape(len(x), -1), training=False).view(x.shape),
        ]
        return Written(self.pick(functions))

    def body(self, most: int) -> None:
        for _ in range(self.integer(1, most)):
            self.add(self.conv())
            for _ in range(self.integer(0, 3)):
                kinds = [self.norm, self.norm, self.activation, self.max_pool, self.branch, self.movement, self.average]
                self.add(self.pick(kinds)())

    def end(self) -> None:
        if self.draw(st.booleans()):
            pool = nn.AdaptiveAvgPool2d(1) if len(self.shape) == 3 else nn.AdaptiveAvgPool1d(1)
            self.add(nn.Sequential(self.pick(GRIDS)(), pool))
        if self.draw(st.booleans()):
            self.add(nn.Flatten())
            n = self.integer(1, 5)
            quantizers = {"input_quantizer": self.pick(GRIDS + SCALED)(), "weight_quantizer": self.pick(WEIGHTS)(n)}
            self.add(QuantLinear(self.shape[0], n, bias=self.draw(st.booleans()), **quantizers))
            if self.draw(st.booleans()):
                self.add(nn.BatchNorm1d(n))
        elif self.draw(st.booleans()):
            self.add(self.pick(GRIDS)())


def _added(module: Any, codes: Tensor) -> Tensor:
    total: Tensor = module.inner(codes) + codes
    return total


@st.composite
def networks(draw: st.DrawFn, most_blocks: int = 3) -> tuple[nn.Module, Tensor]:
    """Draw a network in evaluation mode and a batch of inputs, uint8 or float32.

    Some of them cannot be packed, because a quantizer follows a function that rises and falls, or an average of reals.
    """
    seed = draw(st.integers(0, 2**32 - 1))
    channels, height, width = (draw(st.integers(1, most)) for most in (4, 6, 6))
    builder = NetBuilder(draw, draw(st.sampled_from([(channels, width), (channels, height, width)])))
    shape = builder.shape
    is_float = draw(st.booleans())
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        builder.add(nn.Identity() if is_float else FixedPointInput(8))
        builder.body(most_blocks)
        builder.end()
        model = trained(nn.Sequential(*builder.layers), seed)
        pixels = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
        reals = torch.randint(-40, 40, (3, *shape)) / 16.0  # ties of the roundings, and values they clip
    return model, reals if is_float else pixels
