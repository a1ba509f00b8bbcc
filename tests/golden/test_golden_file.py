"""The bytes of a packed file never change: files outlive the featherbit that wrote them.

`mlp_v1.fbit` was written once by version 1 of the format, `mlp_v2.fbit` and `conv_v2.fbit` by version 2
(`python tests/golden/test_golden_file.py`); each stays as it is for as long as its version can be read. If the writing
test fails, either `save` or the safetensors library writes other bytes for the same network, and equal networks no
longer have equal checksums: find out why before anything else. A changed format gets a new version number and new
golden files beside these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featherbit.ir import Graph, load, reference, save
from strategies_conv import every_conv_op
from strategies_ir import every_op

FOLDER = Path(__file__).parent
CURRENT: dict[str, Callable[[], Graph]] = {"mlp_v2.fbit": every_op, "conv_v2.fbit": every_conv_op}
NETWORKS = {"mlp_v1.fbit": every_op, **CURRENT}
SHA256 = {
    "mlp_v1.fbit": "9ba954b3f058c9fae04017a0338f64bca5d98fc69b14b1b1eeb18c16f364ad7e",
    "mlp_v2.fbit": "0057d8ffcc42a7d84563a355c97e818b74571734619249dbba732b66114dc9f1",
    "conv_v2.fbit": "6c21634f9985e9ae08d71a2ae55bfbc5a6f63da88eaa90c60543e86f25f8985f",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_golden_file_itself_is_untouched(name: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == SHA256[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_golden_file_loads_as_the_network_it_was(name: str) -> None:
    assert load(FOLDER / name) == NETWORKS[name]()


@pytest.mark.parametrize("name", CURRENT)
def test_saving_the_network_again_gives_the_golden_bytes(name: str, tmp_path: Path) -> None:
    save(CURRENT[name](), tmp_path / "net.fbit")
    assert (tmp_path / "net.fbit").read_bytes() == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", ["mlp_v1.fbit", "mlp_v2.fbit"])
def test_the_golden_perceptron_computes_what_it_did(name: str) -> None:
    x = (((np.arange(140) * 29) % 257 - 128) / 128).astype(np.float32).reshape(2, 2, 35)  # [B, 2, 35]
    values = reference.run(load(FOLDER / name), x)
    assert values["sum1"][:, :4].tolist() == [[132, 224, 92, 14], [118, 216, 84, 16]]
    assert values["sum2"].tolist() == [[-36, -16, 6, -28, 10], [-34, -14, 8, -30, 8]]
    assert values["y"].tolist() == [[9.0, 2.0625, 0.25, -2.9375, 3.5], [8.5, 1.8125, 0.25, -3.1875, 3.0]]


def test_the_golden_convolutions_compute_what_they_did() -> None:
    x = ((np.arange(80) * 37) % 256).astype(np.uint8).reshape(2, 2, 5, 4)  # [B, C, H, W]
    values = reference.run(load(FOLDER / "conv_v2.fbit"), x)
    assert values["sum1"][:, 0, :2].tolist() == [
        [[1768, -1536, -505], [106, -427, 149]],
        [[-400, -40, -81], [762, 637, -955]],
    ]
    assert values["codes1"][:, 1, 1].tolist() == [[7, 0, 1], [0, 0, 1]]
    assert values["sums"].reshape(2, -1).tolist() == [[-165, 224, 62, -207, 184, 64], [-249, 174, 57, -242, 194, 64]]
    assert values["y"].tolist() == [[-1.25, 1.125], [-1.25, 1.125]]


if __name__ == "__main__":
    for current, network in CURRENT.items():
        save(network(), FOLDER / current)
        print(current, hashlib.sha256((FOLDER / current).read_bytes()).hexdigest())
