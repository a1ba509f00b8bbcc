"""The bytes of a packed file never change: files outlive the featherbit that wrote them.

`mlp_v1.fbit` was written once by `python tests/golden/test_golden_file.py` and stays as it is for as long as version 1
of the format can be read. If the writing test fails, either `save` or the safetensors library writes other bytes for
the same network, and equal networks no longer have equal checksums: find out why before anything else. A changed format
gets a new version number and a new golden file beside this one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from featherbit.ir import load, reference, save
from strategies_ir import every_op

GOLDEN = Path(__file__).parent / "mlp_v1.fbit"
SHA256 = "9ba954b3f058c9fae04017a0338f64bca5d98fc69b14b1b1eeb18c16f364ad7e"


def test_the_golden_file_itself_is_untouched() -> None:
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest() == SHA256


def test_the_golden_file_loads_as_the_network_it_was() -> None:
    assert load(GOLDEN) == every_op()


def test_saving_the_network_again_gives_the_golden_bytes(tmp_path: Path) -> None:
    save(every_op(), tmp_path / "net.fbit")
    assert (tmp_path / "net.fbit").read_bytes() == GOLDEN.read_bytes()


def test_the_golden_network_computes_what_it_did() -> None:
    x = (((np.arange(140) * 29) % 257 - 128) / 128).astype(np.float32).reshape(2, 2, 35)  # [B, 2, 35]
    values = reference.run(load(GOLDEN), x)
    assert values["sum1"][:, :4].tolist() == [[132, 224, 92, 14], [118, 216, 84, 16]]
    assert values["sum2"].tolist() == [[-36, -16, 6, -28, 10], [-34, -14, 8, -30, 8]]
    assert values["y"].tolist() == [[9.0, 2.0625, 0.25, -2.9375, 3.5], [8.5, 1.8125, 0.25, -3.1875, 3.0]]


if __name__ == "__main__":
    save(every_op(), GOLDEN)
    print(hashlib.sha256(GOLDEN.read_bytes()).hexdigest())
