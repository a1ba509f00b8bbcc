"""Convolutions and pools of the reference interpreter against torch's own, in double precision."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from featherbit.bits import pack_weight
from featherbit.ir import Conv2d, MaxPool2d, SumPool2d, reference

STRIDES = [(1, 1), (2, 3)]
DILATIONS = [(1, 1), (3, 2)]
PADDINGS = [(0, 0), (2, 1)]


@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolutions_are_torchs(kernel: tuple[int, int], groups: int) -> None:
    rng = np.random.default_rng(groups)
    codes = rng.integers(0, 16, size=(2, 9, 8, 4), dtype=np.uint8)  # [B, H, W, C]
    weight = rng.integers(-4, 4, size=(8, kernel[0], kernel[1], 4 // groups))  # [N, kh, kw, C / G]
    for stride, dilation, padding in itertools.product(STRIDES, DILATIONS, PADDINGS):
        op = Conv2d(
            ("x",),
            "y",
            weight=pack_weight(weight.reshape(8, -1), 3, "twos_complement"),
            weight_bits=3,
            weight_encoding="twos_complement",
            zero_point=5,
            in_channels=4,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            padding=(*padding, *padding),
            groups=groups,
        )
        x = torch.from_numpy(codes.astype(np.float64) - 5).permute(0, 3, 1, 2)  # [B, C, H, W]
        w = torch.from_numpy(weight.astype(np.float64)).permute(0, 3, 1, 2)  # [N, C / G, kh, kw]
        expected = F.conv2d(x, w, None, stride, padding, dilation, groups).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(reference.RULES[Conv2d](op, codes), expected)


@pytest.mark.parametrize("kernel", [(1, 1), (2, 3), (3, 2)])
def test_pools_are_torchs(kernel: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype(np.float32)  # [B, H, W, C]
    images = torch.from_numpy(x).permute(0, 3, 1, 2)  # [B, C, H, W]
    for stride, dilation in itertools.product(STRIDES, DILATIONS):
        padding = (kernel[0] // 2, kernel[1] // 2)
        window: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": (*padding, *padding)}
        greatest = reference.RULES[MaxPool2d](MaxPool2d(("x",), "y", dilation=dilation, **window), x)
        expected = F.max_pool2d(images, kernel, stride, padding, dilation)
        assert np.array_equal(greatest, expected.permute(0, 2, 3, 1).numpy())
        integers = np.rint(x * 20).astype(np.int32)
        sums = reference.RULES[SumPool2d](SumPool2d(("x",), "y", **window), integers)
        means = F.avg_pool2d(torch.from_numpy(integers).double().permute(0, 3, 1, 2), kernel, stride, padding)
        assert np.array_equal(sums, np.rint(means.permute(0, 2, 3, 1).numpy() * kernel[0] * kernel[1]))
