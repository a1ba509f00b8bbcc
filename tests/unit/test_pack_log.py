"""Logarithmic activations and weights: packed as multiples of the least power of two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featherbit import pack
from featherbit.errors import PackError
from featherbit.ir import MultiThreshold
from featherbit.kernels import available_isas
from featherbit.layers import FixedPointInput, QuantConv2d, QuantLinear, ShiftBatchNorm1d
from featherbit.quantizers import LogQuant, Lsq, Sign
from featherbit.runtime import Session

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8))


def _norm(kind: type[nn.Module], features: int) -> nn.Module:
    norm: Any = kind(features)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_(std=0.3)
        norm.running_mean.normal_()
    return norm  # type: ignore[no-any-return]


def _layer(inputs: int, outputs: int, weight: nn.Module) -> QuantLinear:
    return QuantLinear(inputs, outputs, bias=False, weight_quantizer=weight)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("underflow", ["smallest", "zero"])
@pytest.mark.parametrize("norm", [nn.BatchNorm1d, ShiftBatchNorm1d])
def test_log_activations_are_the_trained_ones_on_every_isa(bits: int, underflow: Any, norm: Any) -> None:
    torch.manual_seed(bits)
    model = nn.Sequential(
        FixedPointInput(),
        _layer(30, 21, LogQuant(3)),
        _norm(norm, 21),
        LogQuant(bits, underflow=underflow),
        _layer(21, 17, Lsq(4)),
        _norm(norm, 17),
        LogQuant(bits, max_exponent=1, underflow=underflow),
        _layer(17, 5, Sign(window=None)),
        nn.BatchNorm1d(5),
    ).eval()
    graph = pack.pack(model, PIXELS)
    assert sum(isinstance(op, MultiThreshold) for op in graph.ops) == 2
    for isa in available_isas():
        assert all(row.mismatches == 0 for row in pack.verify(model, graph, PIXELS, isa=isa, threads=2))
    assert all(row.mismatches == 0 for row in pack.verify(model, graph, PIXELS, reference=True))
    with torch.no_grad():
        assert np.array_equal(Session(graph).run(PIXELS.numpy()), model(PIXELS).numpy())


def test_log_activations_of_images_are_pooled() -> None:
    torch.manual_seed(0)
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8))
    norm = nn.BatchNorm2d(7)
    with torch.no_grad():
        norm.weight.uniform_(0.1, 1)
        norm.bias.normal_(std=0.3)
    model = nn.Sequential(
        FixedPointInput(),
        QuantConv2d(3, 7, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        norm,
        LogQuant(4),
        QuantConv2d(7, 5, 3, bias=False, padding=1),
    ).eval()
    graph = pack.pack(model, images)
    assert all(row.mismatches == 0 for row in pack.verify(model, graph, images))


def test_more_exponents_than_eight_bits_have_are_refused() -> None:
    model = nn.Sequential(
        FixedPointInput(), _layer(30, 9, Sign()), nn.BatchNorm1d(9), LogQuant(5), _layer(9, 3, Sign())
    )
    with pytest.raises(PackError, match="at most 8 bits"):
        pack.pack(model.eval(), PIXELS)


def test_powers_of_two_of_real_numbers_are_refused() -> None:
    model = nn.Sequential(LogQuant(3), _layer(30, 9, Sign()))
    with pytest.raises(PackError, match="have no packed form; put it after a product"):
        pack.pack(model.eval(), torch.randn(4, 30))
