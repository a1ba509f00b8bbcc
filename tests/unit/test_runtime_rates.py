"""The cache of kernel rates: measured once, kept in a file, measured again where the file is of no use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from featherbit.runtime import _rates


@pytest.fixture
def measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Keep the cache in an empty folder, forget what was measured, and list what is measured from now on."""
    measured: list[str] = []

    def measure(isa: str) -> tuple[float, float]:
        measured.append(isa)
        return 8.0, 2.0

    monkeypatch.setenv(_rates.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(_rates, "_measure", measure)
    _rates.measured_rates.cache_clear()
    yield measured
    _rates.measured_rates.cache_clear()


def cache_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache").glob("rates-*.json")
    return path


def test_rates_are_measured_once_and_kept(tmp_path: Path, measurements: list[str]) -> None:
    for _ in range(2):
        assert _rates.measured_rates("scalar") == _rates.Rates(8.0, 2.0)
    _rates.measured_rates.cache_clear()  # as a new process
    assert _rates.measured_rates("scalar") == _rates.Rates(8.0, 2.0)
    assert measurements == ["scalar"]
    assert json.loads(cache_file(tmp_path).read_text()) == {"scalar": [8.0, 2.0]}


def test_a_second_instruction_set_is_added(tmp_path: Path, measurements: list[str]) -> None:
    _rates.measured_rates("scalar")
    _rates.measured_rates("avx2")
    assert measurements == ["scalar", "avx2"]
    assert set(json.loads(cache_file(tmp_path).read_text())) == {"scalar", "avx2"}
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [cache_file(tmp_path).name]  # nothing temporary


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "3", '"x"', "null", '{"scalar": 3}', '{"scalar": [1]}', '{"scalar": ["a", 2]}',
     '{"scalar": [0, 2]}',     '{"scalar": [-1, 2]}', '{"scalar": [1, 2, 3]}', '{"scalar": null}'],
)  # fmt: skip
def test_a_damaged_file_is_measured_anew(tmp_path: Path, measurements: list[str], damage: str) -> None:
    _rates.measured_rates("scalar")
    path = cache_file(tmp_path)
    path.write_text(damage)
    _rates.measured_rates.cache_clear()
    assert _rates.measured_rates("scalar") == _rates.Rates(8.0, 2.0)
    assert measurements == ["scalar", "scalar"]
    assert json.loads(path.read_text()) == {"scalar": [8.0, 2.0]}


def test_a_file_that_is_no_text_is_measured_anew(tmp_path: Path, measurements: list[str]) -> None:
    _rates.measured_rates("scalar")
    cache_file(tmp_path).write_bytes(b"\xff\xfe\x00")
    _rates.measured_rates.cache_clear()
    assert _rates.measured_rates("scalar") == _rates.Rates(8.0, 2.0)


def test_a_folder_that_cannot_be_written_is_no_trouble(
    tmp_path: Path, measurements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(_rates.CACHE_VARIABLE, str(tmp_path / "file" / "folder"))
    assert _rates.measured_rates("scalar") == _rates.Rates(8.0, 2.0)
    assert measurements == ["scalar"]


def test_the_cheaper_kernel_follows_the_rates(measurements: list[str]) -> None:
    cost = _rates.product_cost("scalar", channels=64, weight_planes=1, code_planes=3)
    assert (cost.planes, cost.bytes, cost.cheaper) == (24.0, 32.0, "planes")
    assert _rates.product_cost("scalar", channels=64, weight_planes=2, code_planes=3).cheaper == "bytes"
    assert _rates.product_cost("scalar", channels=3, weight_planes=1, code_planes=1).cheaper == "bytes"
    assert str(cost) == "bit-planes : bytes = 0.75 : 1"
