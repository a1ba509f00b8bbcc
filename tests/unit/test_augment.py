"""Augmentation: flips and crops of whole pixels, drawn from torch's generator, in training only."""

import pytest
import torch
from torch import nn

from featherbit.errors import RecipeError
from featherbit.train._augment import Augment, make_augmentation
from featherbit.train._data_settings import AugmentationSettings

SHAPE = (3, 6, 8)


def images(count=64):
    return torch.randint(0, 256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def augment(**settings):
    torch.manual_seed(7)
    return Augment(AugmentationSettings(**settings), SHAPE)(images())


def crops(image, padding):
    """Return every crop of a padded image, by its definition."""
    height, width = SHAPE[1:]
    padded = torch.zeros(3, height + 2 * padding, width + 2 * padding, dtype=torch.uint8)
    padded[:, padding : padding + height, padding : padding + width] = image
    offsets = [(y, x) for y in range(2 * padding + 1) for x in range(2 * padding + 1)]
    return {(y, x): padded[:, y : y + height, x : x + width] for y, x in offsets}


def test_about_every_second_image_is_flipped_and_the_others_are_untouched():
    changed = augment(flip=True)
    assert (changed.dtype, changed.shape) == (torch.uint8, (64, *SHAPE))
    flipped = [torch.equal(new, old.flip(-1)) for new, old in zip(changed, images(), strict=True)]
    same = [torch.equal(new, old) for new, old in zip(changed, images(), strict=True)]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    assert 16 <= sum(flipped) <= 48  # four standard deviations of 64 coins


def test_every_crop_is_a_piece_of_the_padded_image():
    found = set()
    for new, old in zip(augment(crop_padding=2), images(), strict=True):
        where = [offset for offset, crop in crops(old, 2).items() if torch.equal(new, crop)]
        assert len(where) == 1
        found.update(where)
    assert {y for y, _ in found} == {x for _, x in found} == set(range(5))


def test_the_same_seed_gives_the_same_images():
    assert torch.equal(augment(flip=True, crop_padding=2), augment(flip=True, crop_padding=2))


def test_without_settings_nothing_changes_and_no_shape_is_asked_for():
    assert isinstance(make_augmentation(AugmentationSettings(), (8, 8)), nn.Identity)


def test_images_without_channels_are_refused():
    with pytest.raises(RecipeError, match=r"needs images \[channels, height, width\], got \[8, 8\]"):
        make_augmentation(AugmentationSettings(flip=True), (8, 8))
