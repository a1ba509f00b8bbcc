"""Downloads of the Penn Treebank, from a server on this machine that stands for the public one."""

import hashlib

import pytest

from featherbit.data import _text_files, penn_treebank
from featherbit.errors import DataError
from local_server import serve
from tiny_text import write_treebank


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the three files, small ones, served; the checksums are theirs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FEATHERBIT_DATA", raising=False)
    folder = write_treebank(tmp_path / "served")
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert sums.keys() == _text_files._SHA256.keys()
    monkeypatch.setattr(_text_files, "_SHA256", {name: sums[name] for name in _text_files._SHA256})
    with serve(folder) as url:
        monkeypatch.setattr(_text_files, "_URL", url)
        yield folder


def test_files_are_downloaded_once_and_then_read_from_the_cache(folder):
    first = penn_treebank(download=True)
    for path in folder.iterdir():
        path.unlink()
    again = penn_treebank(download=True, level="character")
    assert len(first.vocabulary) == 10
    assert again.vocabulary.level == "character"


def test_a_file_with_another_checksum_is_refused(folder):
    path = folder / "ptb.test.txt"
    path.write_bytes(path.read_bytes() + b"the\n")
    with pytest.raises(DataError, match=r"penn-treebank could not be downloaded: .*give a folder of its files instead"):
        penn_treebank(download=True)
