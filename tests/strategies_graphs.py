"""Hypothesis strategies for what the planner must cope with: wide channels, groups, pools to fuse, many readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from featherbit.errors import FileErrorCode, GraphError
from featherbit.ir import ChannelsLast, Concat, Conv2d, Graph, Input, MaxPool2d, SumPool2d
from strategies_conv import ENCODINGS, GraphBuilder, random_weight, used

CHANNELS = (1, 2, 3, 4, 8, 63, 64, 65)
FILTERS = (1, 2, 5, 16, 17, 64, 70)
MOST_CHANNELS = 200


@dataclass
class PlanBuilder(GraphBuilder):
    """Ops as `GraphBuilder` writes them, and those that have several native forms more often and larger."""

    def reaching_window(self, x: str) -> dict[str, Any]:
        """Draw a window that may lie in the padding whole, now and then."""
        window = self.window(x)
        if self.integer(0, 5) == 0:
            window["padding"] = tuple(side + self.integer(0, 2) for side in window["padding"])
        return window

    def conv(self, x: str) -> str:
        source = self.types[x]
        channels, zero_point = source.channels, self.zero_point(x)
        divisors = [g for g in range(1, channels + 1) if channels % g == 0]
        groups = self.draw(st.sampled_from([1, 1, channels, *divisors]))
        per_group = self.draw(st.sampled_from([n for n in FILTERS if n == 1 or n * groups <= MOST_CHANNELS]))
        window = self.reaching_window(x)
        encoding, bits = self.draw(st.sampled_from(ENCODINGS))
        low, high = (-1, 1) if source.is_sign else (-zero_point, source.magnitude() - zero_point)
        k = window["kernel"][0] * window["kernel"][1] * channels // groups
        return self.write(
            Conv2d,
            x,
            weight=random_weight(groups * per_group, k, bits, encoding, self.rng),
            zero_point=zero_point,
            weight_bits=bits,
            weight_encoding=encoding,
            in_channels=channels,
            groups=groups,
            pad_value=self.draw(st.sampled_from(sorted({low, 0, high}))),
            **window,
        )

    def tiling_pool(self, x: str) -> str:
        """Write a pool whose windows lie side by side, after a convolution if it can."""
        if self.types[x].element not in ("int32", "float32"):
            x = self.conv(x)
        height, width = self.types[x].shape[:2]
        kernel = tuple(self.draw(st.sampled_from([k for k in (1, 2, 3) if size % k == 0])) for size in (height, width))
        return self.write(MaxPool2d, x, kernel=kernel, stride=kernel)

    def sum_pool(self, x: str) -> str:
        window = self.reaching_window(x)
        del window["dilation"]
        return self.write(SumPool2d, x, zero_point=self.zero_point(x), **window)

    def join(self, x: str) -> str:
        """Write a concatenation with another value of the same kind and size, where there is one."""
        mates = [
            name
            for name, kind in self.types.items()
            if kind.kind == self.types[x].kind and kind.shape[:-1] == self.types[x].shape[:-1]
        ]
        other = self.draw(st.sampled_from(mates))
        if self.types[x].channels + self.types[other].channels > MOST_CHANNELS:
            return x
        return self.write(Concat, *self.draw(st.permutations([x, other])))

    def continued_op(self, x: str) -> str:
        """Write an op that can read `x`, most of them a step of a usual network."""
        source = self.types[x]
        image = len(source.shape) == 3
        usual = {"int32": [self.threshold, self.threshold, self.add], "float32": [self.quantize]}
        choices = usual.get(source.kind, [self.conv] * 2 if image else [self.linear])
        extra = [self.tiling_pool, self.join] if image else [self.join]
        try:
            return self.draw(st.sampled_from([*choices, *choices, *extra, self.any_op]))(x)
        except GraphError as error:
            if error.code != FileErrorCode.INEXACT_SUM:
                raise
            return x


@st.composite
def planned_graphs(draw: st.DrawFn, most_ops: int = 9) -> Graph:
    """Draw a network of any ops; now and then an op reads an earlier value, which then has several readers."""
    builder = PlanBuilder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw)
    channels, height, width = draw(st.sampled_from(CHANNELS)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    shape = draw(st.sampled_from([(channels, width), (channels, height, width), (channels, height, width)]))
    x = builder.write(Input, shape=shape, dtype=draw(st.sampled_from(["uint8", "float32"])))
    x = builder.write(ChannelsLast, x)
    for _ in range(draw(st.integers(1, most_ops))):
        if draw(st.integers(0, 6)) == 0:
            x = draw(st.sampled_from(list(builder.types)[1:]))
        x = builder.continued_op(x)
    return Graph(tuple(used(builder.ops, x)), x)
