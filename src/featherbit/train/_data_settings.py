"""The part of a recipe's schema that says which data, and what training does to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .. import data
from ..runtime import Level
from ._settings import Count, Settings, Share
from ._task import Classification, LanguageModeling


class _ImageSettings(Settings):
    """Labeled images."""

    def load(self) -> data.Dataset:
        """Return the data set."""
        raise NotImplementedError

    def task(self) -> Classification:
        """Return what is learned from them."""
        return Classification(self.load())


class TextSettings(Settings):
    """Any text, and the steps through which training goes back."""

    level: Level = "word"
    sequence_length: Count = 35

    def load(self) -> data.Corpus:
        """Return the text."""
        raise NotImplementedError

    def task(self) -> LanguageModeling:
        """Return what is learned from it."""
        return LanguageModeling(self.load(), self.sequence_length)


class DigitsSettings(_ImageSettings):
    """The embedded digits: `data.digits`."""

    kind: Literal["digits"]
    split_seed: int = 0
    validation_size: int = Field(180, ge=1)
    test_size: int = Field(360, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.digits(split_seed=self.split_seed, validation_size=self.validation_size, test_size=self.test_size)


class MnistSettings(_ImageSettings):
    """MNIST: `data.mnist`."""

    kind: Literal["mnist"]
    path: str | None = None
    download: bool = False
    validation_size: int = Field(10_000, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.mnist(self.path, download=self.download, validation_size=self.validation_size)


class IdxSettings(_ImageSettings):
    """Any set in four IDX files: `data.idx_folder`."""

    kind: Literal["idx"]
    path: str
    validation_size: int = Field(10_000, ge=1)

    def load(self) -> data.Dataset:
        """Return the data set."""
        return data.idx_folder(self.path, validation_size=self.validation_size)


class Cifar10Settings(_ImageSettings):
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


class SvhnSettings(_ImageSettings):
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


class ImageFolderSettings(_ImageSettings):
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


class PennTreebankSettings(TextSettings):
    """The Penn Treebank: `data.penn_treebank`."""

    kind: Literal["penn_treebank"]
    path: str | None = None
    download: bool = False
    checksums: bool = True

    def load(self) -> data.Corpus:
        """Return the text."""
        return data.penn_treebank(self.path, level=self.level, download=self.download, checksums=self.checksums)


class TextFileSettings(TextSettings):
    """Any text in a file: `data.text_file`."""

    kind: Literal["text"]
    path: str
    validation_share: Share = 0.05
    test_share: Share = 0.05

    def load(self) -> data.Corpus:
        """Return the text."""
        return data.text_file(
            self.path, level=self.level, validation_share=self.validation_share, test_share=self.test_share
        )


DataSettings = Annotated[
    DigitsSettings
    | MnistSettings
    | IdxSettings
    | Cifar10Settings
    | SvhnSettings
    | ImageFolderSettings
    | PennTreebankSettings
    | TextFileSettings,
    Field(discriminator="kind"),
]


class AugmentationSettings(Settings):
    """What is done to the images of a training batch, at random; see `train.augment`."""

    flip: bool = False  # left and right, every second image
    crop_padding: Annotated[int, Field(ge=0)] = 0  # zeros around an image, from which its size is cut out again
