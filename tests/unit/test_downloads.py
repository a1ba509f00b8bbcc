"""Downloads of data sets, from a server on this machine that stands for the public one."""

import hashlib
import io
import tarfile

import pytest

from featherbit.data import _cifar10, _mnist, _svhn, cifar10, mnist, svhn
from featherbit.errors import DataError
from local_server import serve
from tiny_cifar import BATCHES, colored, python_batch, write_svhn
from tiny_idx import write_folder


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FEATHERBIT_DATA", raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of MNIST's four files, small ones, served; the checksums are theirs."""
    folder = write_folder(tmp_path / "served")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert sums.keys() == _mnist._SHA256.keys()
    monkeypatch.setattr(_mnist, "_SHA256", sums)
    with serve(folder) as url:
        monkeypatch.setattr(_mnist, "_URL", url)
        yield folder


def test_files_are_downloaded_once_and_then_read_from_the_cache(folder):
    first = mnist(download=True, validation_size=10)
    for path in folder.iterdir():
        path.unlink()
    again = mnist(download=True, validation_size=10)
    assert len(first.train) == len(again.train) == 20


def test_a_file_with_another_checksum_is_refused(folder):
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="could not be downloaded"):
        mnist(download=True, validation_size=10)


def test_a_server_without_the_files_is_a_data_error(folder):
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="give a folder of its files instead"):
        mnist(download=True, validation_size=10)


def test_cifar10_is_downloaded_and_unpacked_once(tmp_path, monkeypatch):
    served = tmp_path / "served"
    served.mkdir()
    files = {name: python_batch(*colored(4, seed=i)) for i, name in enumerate(BATCHES)}
    with tarfile.open(served / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    digest = hashlib.md5((served / "cifar-10-python.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(_cifar10, "_ARCHIVE_MD5", digest)
    monkeypatch.setattr(_cifar10, "_MD5", {name: hashlib.md5(content).hexdigest() for name, content in files.items()})
    with serve(served) as url:
        monkeypatch.setattr(_cifar10, "_URL", url)
        first = cifar10(download=True, validation_size=2)
    again = cifar10(download=True, validation_size=2)  # the server is gone
    assert [len(first.train), len(again.train)] == [18, 18]


def test_svhn_is_downloaded_with_its_checksums(tmp_path, monkeypatch):
    served = write_svhn(tmp_path / "served")
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in served.iterdir()}
    assert sums.keys() == _svhn._MD5.keys()
    monkeypatch.setattr(_svhn, "_MD5", sums)
    with serve(served) as url:
        monkeypatch.setattr(_svhn, "_URL", url)
        assert len(svhn(download=True, validation_size=2).train) == 10
        monkeypatch.setattr(_svhn, "_MD5", {**sums, "extra_32x32.mat": "0" * 32})
        with pytest.raises(DataError, match="SVHN could not be downloaded"):
            svhn(download=True, extra=True, validation_size=2)
