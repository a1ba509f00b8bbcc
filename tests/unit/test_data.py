"""Data sets: splits, orders, batches, and MNIST-like folders."""

import gzip

import numpy as np
import pytest
import torch

from featherbit.data import Batches, Dataset, Split, digits, epoch_order, idx_folder, mix_seed, mnist, read_idx
from featherbit.errors import DataError
from oracles_training import idx_bytes
from tiny_idx import images_and_labels, write_folder


@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3), (2, 0, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_files_of_any_dimensions_are_read(tmp_path, shape, compress):
    count = int(np.prod(shape))
    expected = np.arange(count, dtype=np.uint8).reshape(shape)
    path = tmp_path / "file"
    path.write_bytes(compress(idx_bytes(shape, expected.tobytes())))
    tensor = read_idx(path)
    assert tensor.dtype == torch.uint8
    assert tensor.shape == shape
    assert np.array_equal(tensor.numpy(), expected)


@pytest.mark.parametrize("subfolder", ["", "MNIST", "MNIST/raw"])
@pytest.mark.parametrize(("suffix", "dash"), [(".gz", "-"), ("", "-"), ("", "."), (".gz", ".")])
def test_mnist_is_found_under_its_usual_names(tmp_path, subfolder, suffix, dash):
    write_folder(tmp_path / subfolder, suffix=suffix, dash=dash)
    dataset = mnist(tmp_path, validation_size=10)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [20, 10, 6]


def test_the_validation_split_is_the_end_of_the_training_file(tmp_path):
    images, labels = images_and_labels(30)
    dataset = idx_folder(write_folder(tmp_path), validation_size=7)
    assert np.array_equal(dataset.validation.images.numpy(), images[-7:])
    assert dataset.validation.labels.tolist() == labels[-7:].tolist()
    assert dataset.validation.labels.dtype == torch.int64


def test_sets_of_another_image_size_and_class_count_are_read(tmp_path):
    dataset = idx_folder(write_folder(tmp_path, size=7, classes=5), validation_size=5)
    assert (dataset.image_shape, dataset.classes) == ((7, 7), 5)


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "MNIST" / "raw")
    monkeypatch.setenv("FEATHERBIT_DATA", str(tmp_path))
    assert len(mnist(validation_size=10).train) == 20


def test_a_missing_set_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("FEATHERBIT_DATA", raising=False)
    with pytest.raises(DataError, match=r"data\.path.*FEATHERBIT_DATA.*data\.download=true"):
        mnist()
    with pytest.raises(DataError, match="no file train-images-idx3-ubyte"):
        mnist(tmp_path)


def test_files_that_do_not_fit_each_other_are_refused(tmp_path):
    folder = write_folder(tmp_path, suffix="")
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes((29,), bytes(29)))
    with pytest.raises(DataError, match="do not fit each other"):
        idx_folder(folder, validation_size=5)


def test_a_test_label_that_training_never_saw_is_refused(tmp_path):
    folder = write_folder(tmp_path, suffix="")
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes((6,), bytes([0, 1, 2, 0, 1, 9])))
    with pytest.raises(DataError, match=r"test labels must lie in 0\.\.2, got 0\.\.9"):
        idx_folder(folder, validation_size=5)


@pytest.mark.parametrize("size", [0, 30, 31])
def test_a_validation_split_that_leaves_nothing_is_refused(tmp_path, size):
    with pytest.raises(DataError, match="validation_size must be 1 to 29"):
        idx_folder(write_folder(tmp_path), validation_size=size)


def sorted_rows(dataset):
    splits = (dataset.train, dataset.validation, dataset.test)
    return sorted(tuple(row) for split in splits for row in split.images.flatten(1).tolist())


def test_digits_are_split_without_overlap_and_by_seed_alone():
    one, again, other = digits(split_seed=1), digits(split_seed=1), digits(split_seed=2)
    assert [len(split) for split in (one.train, one.validation, one.test)] == [1257, 180, 360]
    assert torch.equal(one.test.images, again.test.images)
    assert not torch.equal(one.test.images, other.test.images)
    assert sorted_rows(one) == sorted_rows(other)


def test_digits_use_the_whole_range_of_a_byte():
    dataset = digits()
    assert (dataset.image_shape, dataset.classes) == ((8, 8), 10)
    assert set(dataset.train.images.unique().tolist()) == {round(p * 255 / 16) for p in range(17)}


def test_digits_refuse_sizes_that_leave_nothing_to_train_on():
    with pytest.raises(DataError, match="cannot be split"):
        digits(validation_size=1000, test_size=797)


def test_an_order_is_a_permutation_decided_by_seed_and_epoch():
    orders = {key: tuple(epoch_order(50, *key).tolist()) for key in ((0, 0), (0, 1), (1, 0))}
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len(set(orders.values())) == 3
    assert tuple(epoch_order(50, 0, 1).tolist()) == orders[0, 1]


def test_seeds_of_different_epochs_and_runs_do_not_meet():
    seeds = {mix_seed(seed, epoch) for seed in range(50) for epoch in range(-1, 200)}
    assert len(seeds) == 50 * 201
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_batches_follow_the_order_and_keep_or_drop_the_rest(drop_last, sizes):
    split = Split(torch.arange(10, dtype=torch.uint8).reshape(10, 1), torch.arange(10))
    order = torch.tensor([9, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    batches = Batches(split, 4, order=order, drop_last=drop_last)
    assert len(batches) == len(sizes)
    seen = [(images.flatten().tolist(), labels.tolist()) for images, labels in batches]
    assert [len(labels) for _, labels in seen] == sizes
    assert [label for _, labels in seen for label in labels] == order.tolist()[: sum(sizes)]
    assert all(images == labels for images, labels in seen)


def test_splits_refuse_what_is_not_images_with_labels():
    images = torch.zeros(3, 2, dtype=torch.uint8)
    with pytest.raises(DataError, match="images must be uint8"):
        Split(images.float(), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DataError, match="one label per image"):
        Split(images, torch.zeros(2, dtype=torch.int64))


def test_a_dataset_refuses_an_empty_split():
    split = Split(torch.zeros(3, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DataError, match="the validation split is empty"):
        Dataset(split, split[:0], split, classes=2)
