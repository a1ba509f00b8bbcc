"""Images of one pixel, which a plan runs side by side, keep a border of their own each."""

from __future__ import annotations

import numpy as np
import pytest

from featherbit import ir
from featherbit.bits import pack_sign
from featherbit.kernels import available_isas
from featherbit.runtime import Session

RNG = np.random.default_rng(11)


def conv(source: str, output: str, channels: int, n: int, side: int, zero: int = 0) -> ir.Conv2d:
    weight = pack_sign(RNG.choice([-1, 1], size=(n, 9 * channels)))
    return ir.Conv2d(
        (source,),
        output,
        weight=weight,
        in_channels=channels,
        kernel=(3, 3),
        padding=(side,) * 4,
        zero_point=zero,
    )


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("bits", [1, 2, 5])
def test_every_image_of_one_pixel_has_its_border(isa: str, bits: int) -> None:
    thresholds = np.sort(RNG.integers(-2000, 2000, (16, 2**bits - 1)), axis=1).astype(np.int32)
    flips = pack_sign(RNG.choice([-1, 1], size=16))
    first = [ir.Input((), "x", shape=(3, 3, 3), dtype="uint8"), conv("x", "sums", 3, 16, 0, 128)]
    codes = ir.MultiThreshold(("sums",), "codes", bits=bits, thresholds=thresholds, flips=flips)
    graph = ir.Graph((*first, codes, conv("codes", "out", 16, 8, 1, 1)), "out")
    x = RNG.integers(0, 256, (9, 3, 3, 3), dtype=np.uint8)
    assert np.array_equal(Session(graph, isa=isa).run(x), ir.reference.run(graph, x)["out"])
