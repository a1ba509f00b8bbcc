"""CIFAR-10, SVHN and image folders: every format, place and split."""

import numpy as np
import pytest
import torch
from PIL import Image

from featherbit.data import cifar10, image_folder, parse_binary_batch, parse_python_batch, read_image, svhn
from featherbit.errors import DataError
from tiny_cifar import binary_batch, colored, python_batch, write_cifar, write_svhn


@pytest.mark.parametrize("subfolder", ["", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize("xz", [False, True])
def test_cifar10_is_found_in_both_formats_packed_or_not(tmp_path, subfolder, python, xz):
    place = tmp_path / (subfolder.replace("-bin", "-py") if python else subfolder)
    write_cifar(place, python=python, xz=xz)
    dataset = cifar10(tmp_path, validation_size=3, checksums=False)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [17, 3, 4]
    assert (dataset.image_shape, dataset.classes) == ((3, 32, 32), 10)
    images, labels = colored(4, seed=4)  # the last training file
    assert np.array_equal(dataset.validation.images.numpy(), images[1:])
    assert dataset.validation.labels.tolist() == labels[1:].tolist()


def test_the_environment_names_the_folder_of_each_set(tmp_path, monkeypatch):
    write_cifar(tmp_path)
    write_svhn(tmp_path / "SVHN")
    monkeypatch.setenv("FEATHERBIT_DATA", str(tmp_path))
    assert len(cifar10(validation_size=2, checksums=False).train) == 18
    assert len(svhn(validation_size=2, checksums=False).train) == 10


@pytest.mark.parametrize("load", [cifar10, svhn])
def test_a_missing_set_says_what_to_do(tmp_path, monkeypatch, load):
    monkeypatch.delenv("FEATHERBIT_DATA", raising=False)
    with pytest.raises(DataError, match=r"data\.path.*FEATHERBIT_DATA.*data\.download=true"):
        load()
    with pytest.raises(DataError, match=r"no file .* check the path"):
        load(tmp_path)


def test_a_file_that_is_not_the_published_one_is_refused_unless_allowed(tmp_path):
    write_cifar(tmp_path)
    write_svhn(tmp_path)
    for load in (cifar10, svhn):
        with pytest.raises(DataError, match=r"has md5 .* the published file .*data\.checksums=false"):
            load(tmp_path, validation_size=2)


def test_a_validation_split_that_leaves_nothing_is_refused(tmp_path):
    write_cifar(tmp_path)
    with pytest.raises(DataError, match="validation_size must be 1 to 19, got 20"):
        cifar10(tmp_path, validation_size=20, checksums=False)


@pytest.mark.parametrize("protocol", range(5))
def test_python_batches_of_any_pickle_protocol_are_read(protocol):
    images, labels = colored(3)
    pixels, read = parse_python_batch(python_batch(images, labels, protocol=protocol))
    assert np.array_equal(pixels, images.reshape(3, -1))
    assert read.tolist() == labels.tolist()


def test_both_formats_give_the_same_arrays():
    images, labels = colored(5)
    for one, other in zip(
        parse_binary_batch(binary_batch(images, labels)), parse_python_batch(python_batch(images, labels)), strict=True
    ):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_svhn_puts_ten_at_zero_and_the_last_training_images_into_validation(tmp_path):
    write_svhn(tmp_path)
    images, labels = colored(12, seed=0)
    dataset = svhn(tmp_path, validation_size=4, checksums=False)
    assert np.array_equal(dataset.validation.images.numpy(), images[-4:])
    assert dataset.train.labels.tolist() == labels[:-4].tolist()
    assert dataset.test.labels.tolist() == colored(5, seed=1)[1].tolist()


def test_the_extra_images_of_svhn_are_trained_on_and_never_validate(tmp_path):
    write_svhn(tmp_path)
    plain = svhn(tmp_path, validation_size=4, checksums=False)
    more = svhn(tmp_path, validation_size=4, checksums=False, extra=True)
    assert len(more.train) == len(plain.train) + 3
    assert torch.equal(more.validation.images, plain.validation.images)


def photograph(path, size, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


@pytest.fixture
def photographs(tmp_path):
    for part, count in (("train", 4), ("val", 2)):
        for label, color in enumerate([(200, 10, 10), (10, 200, 10), (10, 10, 200)]):
            for i in range(count):
                photograph(tmp_path / part / f"class{label}" / f"{i}.png", (20 + 4 * i, 30), color)
    (tmp_path / "train" / "class0" / "notes.txt").write_text("not an image")
    return tmp_path


def test_an_image_folder_has_a_class_for_each_folder(photographs):
    dataset = image_folder(photographs, size=16, resize=20, validation_size=2)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [10, 2, 6]
    assert (dataset.image_shape, dataset.classes) == ((3, 16, 16), 3)
    for split in (dataset.train, dataset.validation, dataset.test):
        brightest = split.images.float().mean(dim=(2, 3)).argmax(dim=1)
        assert torch.equal(brightest, split.labels)


def test_the_validation_images_of_a_folder_are_drawn_by_a_seed(photographs):
    one, again, other = (
        image_folder(photographs, size=8, validation_size=6, split_seed=seed).validation.labels for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_middle_of_an_image_is_cut_out_after_its_shorter_side_is_scaled(tmp_path):
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    pixels[:, 4:12] = 255  # the middle square is white
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert read_image(tmp_path / "wide.png", size=8, resize=8).unique().tolist() == [255]
    larger = read_image(tmp_path / "wide.png", size=16, resize=16)
    assert larger.shape == (3, 16, 16)
    assert larger[:, :, 2:-2].unique().tolist() == [255]  # interpolation blurs the edge


def test_gray_and_turned_photographs_become_upright_color(tmp_path):
    turned = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    turned.save(tmp_path / "turned.png", exif=exif)
    image = read_image(tmp_path / "turned.png", size=3, resize=3)
    expected = np.rot90(np.arange(12).reshape(3, 4) * 20, -1)  # [4, 3]
    assert np.array_equal(image[0].numpy(), expected[0:3])
    assert torch.equal(image[0], image[2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "val").rename(f / "other"), "needs a folder train and one of test, val, validation"),
        (lambda f: (f / "val" / "class9").mkdir(), "no class 'class9' in train"),
        (lambda f: (f / "train" / "class1" / "0.png").write_bytes(b"no image"), r"0\.png: cannot be read as an image"),
        (lambda f: [p.unlink() for p in (f / "val").rglob("*.png")], "no images of the kinds"),
    ],
)
def test_each_fault_of_an_image_folder_has_its_own_message(photographs, damage, message):
    damage(photographs)
    with pytest.raises(DataError, match=message):
        image_folder(photographs, size=8, validation_size=2)


def test_sizes_that_make_no_sense_are_refused(photographs, monkeypatch):
    with pytest.raises(DataError, match="size must be 1 to resize, got size 9 and resize 8"):
        image_folder(photographs, size=9, resize=8)
    with pytest.raises(DataError, match=r"lower data\.size"):
        image_folder(photographs, size=10**5, validation_size=2)
    monkeypatch.delenv("FEATHERBIT_DATA", raising=False)
    with pytest.raises(DataError, match="no folder of images"):
        image_folder()
