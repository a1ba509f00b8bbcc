"""Saving and loading: round trip, equal bytes, memory mapping, and all or nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from featherbit.errors import FileError, FileErrorCode
from featherbit.ir import Graph, Input, load, reference, save
from strategies_ir import batch_for, every_op


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_loaded_equals_what_was_saved_and_computes_the_same(tmp_path: Path) -> None:
    graph = every_op()
    save(graph, tmp_path / "net.fbit")
    loaded = load(tmp_path / "net.fbit")
    assert loaded == graph
    x = batch_for(graph, 3, seed=0)
    expected = reference.run(graph, x)
    assert all(np.array_equal(value, expected[name]) for name, value in reference.run(loaded, x).items())


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    save(every_op(), str(tmp_path / "net.fbit"))
    assert load(str(tmp_path / "net.fbit")) == every_op()


def test_a_graph_without_arrays_survives(tmp_path: Path) -> None:
    graph = Graph((Input((), "x", "an é ☃", shape=(3,), dtype="uint8"),), "x")
    save(graph, tmp_path / "net.fbit")
    assert load(tmp_path / "net.fbit") == graph


def test_equal_graphs_give_equal_bytes_in_every_process(tmp_path: Path) -> None:
    script = (
        "import sys; from strategies_ir import every_op; from featherbit.ir import save; save(every_op(), sys.argv[1])"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-c", script, str(tmp_path / seed)], check=True, env=environment, timeout=120)
    save(load(tmp_path / "1"), tmp_path / "3")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes() == (tmp_path / "3").read_bytes()


def test_loaded_arrays_are_read_only_views_of_the_mapped_file(tmp_path: Path) -> None:
    save(every_op(), tmp_path / "net.fbit")
    for op in load(tmp_path / "net.fbit").ops:
        for array in op.arrays().values():
            assert type(array.base).__name__ == "mmap"
            assert array.flags.aligned
            assert array.flags.c_contiguous
            assert not array.flags.writeable


def test_the_safetensors_library_reads_the_file_too(tmp_path: Path) -> None:
    graph = every_op()
    save(graph, tmp_path / "net.fbit")
    tensors = safetensors.numpy.load_file(tmp_path / "net.fbit")
    assert set(tensors) == {f"{op.output}.{name}" for op in graph.ops for name in op.arrays()}
    assert all(
        np.array_equal(tensors[f"{op.output}.{name}"], array) for op in graph.ops for name, array in op.arrays().items()
    )


def test_a_file_can_be_replaced_while_its_graph_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "net.fbit"
    save(every_op(), path)
    loaded = load(path)
    save(loaded, path)
    save(Graph(loaded.ops[:2], "flat"), path)
    assert loaded == every_op()
    assert names(tmp_path) == ["net.fbit"]


@pytest.mark.parametrize("failing", ["os.fsync", "os.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    path = tmp_path / "net.fbit"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(failing, fail)
        with pytest.raises(FileError if isinstance(error, OSError) else KeyboardInterrupt):
            save(every_op(), path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["net.fbit"]


@pytest.mark.parametrize("name", ["missing/net.fbit", ".", "a\0b"])
def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match=r"cannot be written") as caught:
        save(every_op(), tmp_path / name)
    assert caught.value.code == FileErrorCode.UNWRITABLE
    assert names(tmp_path) == []


def test_the_empty_path_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="cannot be written"):
        save(every_op(), "")
    assert names(tmp_path) == []


def test_a_bare_file_name_is_written_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(every_op(), "net.fbit")
    assert load("net.fbit") == every_op()


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_a_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save(every_op(), tmp_path / "net.fbit")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "net.fbit")}
    assert len(modes) == 1


def test_an_error_names_the_file_and_carries_its_code(tmp_path: Path) -> None:
    path = tmp_path / "absent.fbit"
    with pytest.raises(FileError, match=r"absent\.fbit: there is no such file \[not_found\]") as caught:
        load(path)
    assert caught.value.code == FileErrorCode.NOT_FOUND
    assert isinstance(caught.value.__cause__, FileNotFoundError)
