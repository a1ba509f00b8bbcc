"""CIFAR-10 and SVHN files that are wrong: each fault has its message, none runs code."""

import lzma
import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from featherbit.data import cifar10, parse_binary_batch, parse_python_batch, read_mat
from featherbit.errors import DataError
from tiny_cifar import binary_batch, colored, python_batch, write_cifar

PIXELS = np.zeros((2, 3072), np.uint8)
GOOD = python_batch(*colored(2))


class Evil:
    """Pickles as a call of a system command."""

    def __reduce__(self):
        return os.system, ("exit 3",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_code_is_refused_before_it_does(protocol):
    with pytest.raises(DataError, match=r"asks for (posix|nt|os)\.system, which no CIFAR-10 file does"):
        parse_python_batch(pickle.dumps({"data": Evil(), "labels": [1]}, protocol=protocol))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"data": PIXELS}, "no python batch of CIFAR-10: KeyError"),
        ([1, 2], "no python batch of CIFAR-10: TypeError"),
        ({"data": PIXELS.astype(np.int16), "labels": [1, 2]}, r"data must be uint8 \[N, 3072\], got int16"),
        ({"data": PIXELS[:, :-1], "labels": [1, 2]}, r"got uint8 \[2, 3071\]"),
        ({"data": PIXELS[0], "labels": [1, 2]}, r"got uint8 \[3072\]"),
        ({"data": "text", "labels": [1]}, "got str"),
        ({"data": PIXELS, "labels": [1]}, "labels must be 2 whole numbers"),
        ({"data": PIXELS, "labels": [1.5, 2.0]}, "labels must be 2 whole numbers, got float64"),
        ({"data": PIXELS, "labels": [1, 10]}, "labels 0 to 9"),
        ({"data": PIXELS, "labels": [-1, 1]}, "labels 0 to 9"),
        ({"data": PIXELS[:0], "labels": []}, "got 0 images"),
    ],
)
def test_each_fault_of_a_python_batch_has_its_own_message(content, message):
    with pytest.raises(DataError, match=message):
        parse_python_batch(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 is not a multiple"),
        (bytes(3072), "3072 is not a multiple"),
        (bytes([10]) + bytes(3072), "labels 0 to 9"),
    ],
)
def test_each_fault_of_a_binary_batch_has_its_own_message(content, message):
    with pytest.raises(DataError, match=message):
        parse_binary_batch(content)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255))
def test_no_damage_to_a_pickle_raises_anything_but_a_data_error(position, byte):
    content = bytearray(GOOD)
    content[position] = byte
    try:
        pixels, labels = parse_python_batch(bytes(content))
    except DataError:
        return
    assert pixels.shape == (len(labels), 3072)


@pytest.mark.parametrize("length", [0, 1, 5, 6, 20, 200])
def test_a_cut_xz_file_is_refused_with_its_path(tmp_path, length):
    write_cifar(tmp_path, xz=True)
    path = tmp_path / "data_batch_2.bin.xz"
    path.write_bytes(lzma.compress(binary_batch(*colored(4)))[:length])
    with pytest.raises(DataError, match=r"data_batch_2\.bin\.xz: "):
        cifar10(tmp_path, validation_size=2, checksums=False)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    write_cifar(tmp_path, xz=True)
    monkeypatch.setattr("featherbit.data._cifar10._MOST_BYTES", 100)
    with pytest.raises(DataError, match="holds more than 100 bytes"):
        cifar10(tmp_path, validation_size=2, checksums=False)


IMAGES = np.zeros((32, 32, 3, 2), np.uint8)
LABELS = np.array([[1], [10]], np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"X": IMAGES}, r"the variables X \(images\) and y \(labels\) are needed"),
        ({"X": IMAGES.astype(np.float64), "y": LABELS}, r"X must be uint8 \[32, 32, 3, N\], got float64"),
        ({"X": IMAGES[:31], "y": LABELS}, r"got uint8 \[31, 32, 3, 2\]"),
        ({"X": IMAGES, "y": LABELS[:1]}, "y must be one whole number for each of 2 images"),
        ({"X": IMAGES, "y": LABELS / 2}, "y must be one whole number for each of 2 images, got float64"),
        ({"X": IMAGES, "y": LABELS - 1}, r"labels must lie in 1\.\.10, got 0\.\.9"),
        ({"X": IMAGES, "y": LABELS + 1}, r"labels must lie in 1\.\.10, got 2\.\.11"),
    ],
)
def test_each_fault_of_a_matlab_file_has_its_own_message(tmp_path, content, message):
    savemat(tmp_path / "file.mat", content)
    with pytest.raises(DataError, match=message):
        read_mat(tmp_path / "file.mat")


@pytest.mark.parametrize("length", [0, 10, 130, 1000])
def test_a_cut_matlab_file_is_refused(tmp_path, length):
    savemat(tmp_path / "file.mat", {"X": IMAGES, "y": LABELS})
    (tmp_path / "file.mat").write_bytes((tmp_path / "file.mat").read_bytes()[:length])
    with pytest.raises(DataError, match=r"no MATLAB file that can be read|are needed"):
        read_mat(tmp_path / "file.mat")
