"""The weight quantizer whose step fits each row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from featherbit import pack
from featherbit.errors import InputError
from featherbit.layers import QuantConv2d, QuantLinear
from featherbit.quantizers import FittedQuant, Sign
from featherbit.runtime import Session


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_step_has_the_least_error_for_normal_weights(bits: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (1, 200_000)).astype(np.float32))
    quantizer = FittedQuant(bits)
    _, scale = quantizer.coded(weight)
    errors = {}
    for factor in (0.8, 1.0, 1.25):
        step = scale * factor
        codes = (weight / step).round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        errors[factor] = float((codes * step - weight).square().mean())
    # The published steps are those of a quantizer without a code for zero, whose optimum lies close by.
    assert errors[1.0] < 1.03 * min(errors.values())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_and_scales_are_those_of_each_row(bits: int) -> None:
    weight = np.random.default_rng(1).normal(size=(5, 3, 2, 2)).astype(np.float32) * np.arange(5).reshape(5, 1, 1, 1)
    codes, scale = FittedQuant(bits).coded(torch.from_numpy(weight.astype(np.float32)))
    table = {2: 0.9957, 4: 0.3352, 8: 0.0308}
    for row, got, step in zip(weight, codes.numpy(), scale.tolist(), strict=True):
        expected = max(table[bits] * float(np.sqrt(np.mean(row.astype(np.float64) ** 2))), 2.0**-24)
        assert step == pytest.approx(expected, rel=1e-6)
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        assert np.abs(got - np.clip(row / step, low, high)).max() <= 0.5 + 1e-4
        assert np.array_equal(got, np.round(got))


def test_the_gradient_passes_inside_the_range_and_not_through_the_step() -> None:
    weight = torch.tensor([[0.1, -0.2, 0.3, 9.0, 0.0, 0.1, 0.2, -0.1]], requires_grad=True)
    quantizer = FittedQuant(2)
    quantizer(weight).sum().backward()
    codes, scale = quantizer.coded(weight)
    ratio = weight.detach() / scale
    assert weight.grad is not None
    assert torch.equal(weight.grad, ((ratio >= -2) & (ratio <= 1)).float())
    assert codes.max() == 1


def test_it_trains_and_packs_to_what_torch_evaluates() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        Sign(),
        QuantConv2d(3, 8, 3, padding=1, weight_quantizer=FittedQuant(3)),
        torch.nn.Flatten(),
        Sign(),
        QuantLinear(8 * 36, 7, weight_quantizer=FittedQuant(4)),
    )
    x = torch.randn(9, 3, 6, 6)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(model(x), torch.arange(9) % 7)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    graph = pack.pack(model.eval(), x)
    with torch.no_grad():
        assert np.array_equal(Session(graph).run(x.numpy()), model(x).numpy())


@pytest.mark.parametrize("bits", [1, 9, True, 2.0])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(InputError, match="FittedQuant takes 2 to 8 bits"):
        FittedQuant(bits)
