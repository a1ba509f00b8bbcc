"""The part of a recipe's schema that says which data, and what training does to its images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .. import data
from ._settings import Count, Settings


class DigitsSettings(Settings):
    """The embedded digits: `data.digits`."""

    kind: Literal["digits"]
    split_seed: int = 0
    validation_size: int = Field(180, ge=1)
    test_size: int = Field(360, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.digits(split_seed=self.split_seed, validation_size=self.validation_size, test_size=self.test_size)


class MnistSettings(Settings):
    """MNIST: `data.mnist`."""

    kind: Literal["mnist"]
    path: str | None = None
    download: bool = False
    validation_size: int = Field(10_000, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.mnist(self.path, download=self.download, validation_size=self.validation_size)


class IdxSettings(Settings):
    """Any set in four IDX files: `data.idx_folder`."""

    kind: Literal["idx"]
    path: str
    validation_size: int = Field(10_000, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.idx_folder(self.path, validation_size=self.validation_size)


class Cifar10Settings(Settings):
    """CIFAR-10: `data.cifar10`."""

    kind: Literal["cifar10"]
    path: str | None = None
    download: bool = False
    validation_size: int = Field(5_000, ge=1)
    checksums: bool = True

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.cifar10(
            self.path, download=self.download, validation_size=self.validation_size, checksums=self.checksums
        )


class SvhnSettings(Settings):
    """SVHN: `data.svhn`."""

    kind: Literal["svhn"]
    path: str | None = None
    download: bool = False
    extra: bool = False
    validation_size: int = Field(6_000, ge=1)
    checksums: bool = True

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.svhn(
            self.path,
            download=self.download,
            extra=self.extra,
            validation_size=self.validation_size,
            checksums=self.checksums,
        )


class ImageFolderSettings(Settings):
    """Photographs in a folder for each class: `data.image_folder`."""

    kind: Literal["images"]
    path: str | None = None
    size: Count = 224
    resize: Count | None = None
    validation_size: int = Field(1_000, ge=1)
    split_seed: int = 0

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.image_folder(
            self.path,
            size=self.size,
            resize=self.resize,
            validation_size=self.validation_size,
            split_seed=self.split_seed,
        )


DataSettings = Annotated[
    DigitsSettings | MnistSettings | IdxSettings | Cifar10Settings | SvhnSettings | ImageFolderSettings,
    Field(discriminator="kind"),
]


class AugmentationSettings(Settings):
    """What is done to the images of a training batch, at random; see `train.augment`."""

    flip: bool = False  # left and right, every second image
    crop_padding: Annotated[int, Field(ge=0)] = 0  # zeros around an image, from which its size is cut out again
