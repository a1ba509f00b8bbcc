"""The download of MNIST, from a server on this machine that stands for the public one."""

import functools
import hashlib
import http.server
import threading

import pytest

from featherbit.data import _mnist, mnist
from featherbit.errors import DataError
from tiny_idx import write_folder


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of four small files, served; the checksums are theirs and the cache is empty."""
    folder = write_folder(tmp_path / "served")
    handler = functools.partial(QuietHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert sums.keys() == _mnist._SHA256.keys()
    monkeypatch.setattr(_mnist, "_SHA256", sums)
    monkeypatch.setattr(_mnist, "_URL", f"http://127.0.0.1:{server.server_address[1]}/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FEATHERBIT_DATA", raising=False)
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


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
