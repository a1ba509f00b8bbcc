"""IDX files that are wrong in every way the format knows, and in random ones."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featherbit.data import read_idx
from featherbit.errors import DataError
from oracles_training import idx_bytes

GOOD = idx_bytes((2, 3), bytes(range(6)))


@pytest.mark.parametrize("length", range(len(GOOD)))
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_file_cut_anywhere_is_refused(tmp_path, length, compress):
    path = tmp_path / "file"
    path.write_bytes(compress(GOOD[:length]))
    with pytest.raises(DataError, match="file: "):
        read_idx(path)


@pytest.mark.parametrize("length", range(1, len(gzip.compress(GOOD, mtime=0))))
def test_a_gzip_stream_cut_anywhere_is_refused(tmp_path, length):
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(GOOD, mtime=0)[:length])
    with pytest.raises(DataError):
        read_idx(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (GOOD + b"\0", "the file has 7"),
        (b"\0\1" + GOOD[2:], "two zero bytes"),
        (idx_bytes((2, 3), bytes(6), code=0x0D), "type code 0x08"),
        (b"\0\0\x08\0", "no dimensions"),
        (b"\0\0\x08\xff" + bytes(8), "255 dimensions takes 1024 bytes"),
        (idx_bytes((2**31, 2**31), b""), "needs 4611686018427387904 bytes"),
        (idx_bytes((2**32 - 1, 2**32 - 1), b""), "no array has the shape"),
        (idx_bytes((0, 2**32 - 1, 2**32 - 1), b""), "no array has the shape"),
        (idx_bytes((1,) * 100, b"\0"), "no array has the shape"),
        (b"", "starts with 4 bytes, got 0"),
        (b"\x89PNG\r\n", "another kind of file"),
    ],
)
def test_each_fault_has_its_own_message(tmp_path, content, reason):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_idx(path)


def test_damaged_gzip_contents_are_refused(tmp_path):
    stream = bytearray(gzip.compress(GOOD, mtime=0))
    stream[-6] ^= 0xFF  # the checksum
    path = tmp_path / "file.gz"
    path.write_bytes(bytes(stream))
    with pytest.raises(DataError, match=r"file\.gz"):
        read_idx(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_idx(path)


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 60), byte=st.integers(0, 255), compressed=st.booleans())
def test_no_damage_raises_anything_but_a_data_error(tmp_path_factory, position, byte, compressed):
    content = bytearray(gzip.compress(GOOD, mtime=0) if compressed else GOOD)
    content[position % len(content)] = byte
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(bytes(content))
    try:
        tensor = read_idx(path)
    except DataError:
        return
    assert tensor.numel() == len(tensor.flatten())
