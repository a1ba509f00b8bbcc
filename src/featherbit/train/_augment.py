"""Random changes of training images, on whole batches, by Kornia.

The random numbers come from torch's global generator, which is set anew from seed and epoch at each epoch's start: a
resumed run augments as an uninterrupted one does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import RecipeError
from ._data_settings import AugmentationSettings


class Augment(nn.Module):
    """Change a batch of uint8 images as the settings say.

    The pixels stay whole numbers.

    Args:
        settings: which changes.
        image_shape: channels, height and width.

    Raises:
        RecipeError: images without three dimensions.
    """

    def __init__(self, settings: AugmentationSettings, image_shape: tuple[int, ...]) -> None:
        super().__init__()
        if len(image_shape) != 3:
            raise RecipeError(f"augmentation needs images [channels, height, width], got {list(image_shape)}")
        from kornia.augmentation import RandomCrop, RandomHorizontalFlip  # slow to import, and rarely needed

        self.changes = nn.Sequential()
        if settings.flip:
            self.changes.append(RandomHorizontalFlip(p=0.5))
        if settings.crop_padding:  # sliced, not interpolated
            height, width = image_shape[1:]
            self.changes.append(RandomCrop((height, width), padding=settings.crop_padding, cropping_mode="slice"))

    def forward(self, images: Tensor) -> Tensor:
        """Return changed images.

        Args:
            images: uint8 `[B, C, H, W]`.

        Returns:
            Same shape and dtype.
        """
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            changed: Tensor = self.changes(images.to(torch.float32))  # Kornia takes no integers; 0 to 255 are exact
        return changed.to(torch.uint8)


def make_augmentation(settings: AugmentationSettings, image_shape: tuple[int, ...]) -> nn.Module:
    """Return what changes a batch of images; it changes nothing without settings."""
    if settings == AugmentationSettings():
        return nn.Identity()
    return Augment(settings, image_shape)
