"""What becomes of measured rows: the JSON file read back, pictures, and peak memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featherbit import benchmarks, ir
from featherbit.benchmarks import Row
from featherbit.benchmarks._blueprint import convnet
from featherbit.benchmarks._memory import PROGRAM
from featherbit.benchmarks._packed_net import Widths, to_graph
from featherbit.benchmarks._plot import OURS, points
from featherbit.errors import FeatherbitError, InputError


def row(case: str, threads: int = 1, peer: str = "torch float32", ours_ms: float = 0.5, peer_ms: float = 10.0) -> Row:
    """Return a measured row."""
    return Row(case, threads, peer, peer_ms / ours_ms, 1.0, 99.0, ours_ms, peer_ms, 5, "scalar", "as it comes")


MISSING = Row("net-w1a1-batch1", 1, "gone", None, None, None, None, None, 0, "scalar", "not installed")
NETWORK = [
    row("net-w1a1-batch1"),
    row("net-w1a1-batch1", peer="onnxruntime int8", peer_ms=2.0),
    row("net-w2a2-batch1", ours_ms=1.0),
    row("net-w1a1-batch8", ours_ms=3.0, peer_ms=60.0),
    row("net-w1a1-batch1", threads=2, ours_ms=0.3, peer_ms=5.0),
    MISSING,
]
LAYERS = [row("conv-3x3-56x64-w1a1"), row("conv-1x1-7x512-w1a1"), row("conv-1x1-7x512-w1a1", peer="onnxruntime int8")]


def test_rows_come_back_from_their_file(tmp_path: Path) -> None:
    benchmarks.write_json([*NETWORK, *LAYERS], tmp_path / "b.json")
    assert benchmarks.read_json(tmp_path / "b.json") == tuple(each for each in [*NETWORK, *LAYERS] if each.ratio)


@pytest.mark.parametrize("text", ["", "{}", '[{"case": "x"}]', "[1]"])
def test_another_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    if text == "{}":
        assert benchmarks.read_json(path) == ()
        return
    with pytest.raises(InputError, match=r"b.json: no figures"):
        benchmarks.read_json(path)


def test_every_picture_that_the_rows_allow_is_drawn(tmp_path: Path) -> None:
    written = benchmarks.plot([*NETWORK, *LAYERS, row("gemm-256")], tmp_path / "plots")
    names = ["net-bits.png", "net-batch.png", "net-threads.png", "conv-w1a1-t1.png"]
    assert [path.name for path in written] == names
    for path in written:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape[0] > 300
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10  # something is drawn


def test_a_single_point_makes_no_picture(tmp_path: Path) -> None:
    assert benchmarks.plot([NETWORK[0], LAYERS[0], row("gemm-256"), MISSING], tmp_path / "plots") == []
    assert list((tmp_path / "plots").iterdir()) == []


def test_a_point_is_a_contestant_in_a_case() -> None:
    found = {(point.bits, point.batch, point.threads, point.who): point.ms for point in points(NETWORK)}
    assert found["w1a1", 1, 1, OURS] == 0.5
    assert found["w1a1", 1, 1, "onnxruntime int8"] == 2.0
    assert found["w1a1", 8, 1, "torch float32"] == 60.0
    assert found["w1a1", 1, 2, OURS] == 0.3
    assert len(found) == 9
    (batched,) = [point for point in points(NETWORK) if (point.batch, point.who) == (8, OURS)]
    assert batched.ms_per_image == 3.0 / 8


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small packed network."""
    path = tmp_path_factory.mktemp("memory") / "net.fbit"
    ir.save(to_graph(convnet(16, 16), Widths(), seed=0), path)
    return path


def test_peak_memory_is_that_of_a_process_of_its_own(packed: Path) -> None:
    ballast = np.ones(50_000_000, dtype=np.uint8)  # of this process: must not count
    memory = benchmarks.measure_memory(packed)
    assert memory.file_bytes == packed.stat().st_size
    assert 10_000_000 < memory.baseline_bytes <= memory.loaded_bytes <= memory.peak_bytes
    assert 0 < memory.beyond_bytes < 8_000_000
    assert ballast.sum() == 50_000_000


def test_the_measuring_program_imports_nothing_that_training_needs() -> None:
    text = PROGRAM.read_text(encoding="utf-8")
    assert "torch" not in text
    assert "benchmarks" not in text


def test_a_file_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.fbit"
    path.write_bytes(b"nothing")
    with pytest.raises(FeatherbitError, match=r"broken.fbit: its memory could not be measured: .*truncated"):
        benchmarks.measure_memory(path)


def test_the_schema_of_the_json_is_what_it_was(tmp_path: Path) -> None:
    benchmarks.write_json(NETWORK, tmp_path / "b.json")
    for entry in json.loads((tmp_path / "b.json").read_text()):
        assert list(entry) == [
            *("case", "threads", "peer", "ratio", "ratio_low", "ratio_high", "ours_ms", "peer_ms", "rounds"),
            *("isa", "note", "machine", "commit", "torch", "onnxruntime"),
        ]
