"""How a value of the graph lies in the memory of a native plan.

A value `[H, W, C]` (a vector is `[1, 1, K]`) is stored pixel by pixel in one of four forms: bits (a sign each),
bit-planes (unsigned codes, one image of bits for each plane), bytes (codes; signs as 0 and 2), or lanes (int32 or
float32). A border of padding may surround the image, so that a convolution reads its padding like any other pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..bits import BitFormat, unpack_sign, words_per_row
from ..ir import ValueType
from ..kernels import _native

Form = Literal["bits", "planes", "bytes", "lanes"]
Sides = tuple[int, int, int, int]
NO_BORDER: Sides = (0, 0, 0, 0)
_QUAD = 4  # bytes that a product of bytes takes at once


@dataclass(frozen=True)
class Storage:
    """Where and how a value is stored.

    Args:
        memory: number of the memory: 0 is the input, 1 the output, then come the buffers.
        form: see the module.
        height: of the image.
        width: of the image.
        channels: of a pixel.
        pixel_bytes: from one pixel to the next.
        planes: bit-planes, 1 unless the form is planes.
        sign: the elements are -1 and +1.
        border: padding stored at the top, left, bottom and right.
        border_value: what each byte of the border holds.
    """

    memory: int
    form: Form
    height: int
    width: int
    channels: int
    pixel_bytes: int
    planes: int = 1
    sign: bool = False
    border: Sides = NO_BORDER
    border_value: int = 0

    @property
    def stored_width(self) -> int:
        """Pixels of a stored row, its border included."""
        return self.width + self.border[1] + self.border[3]

    @property
    def plane_bytes(self) -> int:
        """Bytes of an image, or of one plane of it."""
        return (self.height + self.border[0] + self.border[2]) * self.stored_width * self.pixel_bytes

    @property
    def image_bytes(self) -> int:
        """Bytes of one image with all its planes."""
        return self.plane_bytes * self.planes

    @property
    def is_dense(self) -> bool:
        """The channels of all pixels follow each other without gaps.

        A flattened value is then the same bytes.
        """
        element_bits = {"bits": 1, "planes": 1, "bytes": 8, "lanes": 32}[self.form]
        one_pixel = self.height == self.width == 1
        return self.border == NO_BORDER and (one_pixel or self.pixel_bytes * 8 == self.channels * element_bits)

    def seen_as(self, value: ValueType) -> Storage:
        """Return the same memory as an image of a value's shape.

        Args:
            value: of as many elements; of another shape only where the pixels have no gaps.
        """
        shape = image_shape(value)
        if shape == (self.height, self.width, self.channels):
            return self
        assert self.is_dense, "a view has no gaps"
        return make_storage(self.memory, value, self.form, exact=True)

    def offsets(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the byte offset of pixels.

        Those of the border have coordinates below 0 and past the end.
        """
        stored: NDArray[np.int64] = (rows + self.border[0]) * self.stored_width + columns + self.border[1]
        return stored * self.pixel_bytes

    def pixels(self) -> NDArray[np.int64]:
        """Return the byte offset of every pixel, int64 `[H * W]`."""
        rows, columns = np.divmod(np.arange(self.height * self.width), self.width)
        return self.offsets(rows, columns)

    def locations(self) -> NDArray[np.int64]:
        """Return the place of every element, int64 `[H * W * C]`.

        It counts bits for bits and planes, else bytes.
        """
        step, unit = {"bits": (1, 8), "planes": (1, 8), "bytes": (1, 1), "lanes": (4, 1)}[self.form]
        return (self.pixels()[:, None] * unit + np.arange(self.channels) * step).reshape(-1)

    def border_runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return begin and length, in bytes, of the runs of memory that the border takes."""
        top, left, bottom, right = self.border
        line = self.stored_width * self.pixel_bytes
        runs = [(0, top * line), ((self.height + top) * line, bottom * line)]
        for y in range(self.height):
            start = (y + top) * line
            runs += [
                (start, left * self.pixel_bytes),
                (start + line - right * self.pixel_bytes, right * self.pixel_bytes),
            ]
        every = [
            (begin + plane * self.plane_bytes, size) for plane in range(self.planes) for begin, size in runs if size
        ]
        table = np.array(every, dtype=np.int64).reshape(-1, 2)
        return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1])

    def native(self) -> _native.Source:
        """Return the description that native steps take."""
        return _native.source(
            self.memory,
            getattr(_native.Form, self.form),
            self.sign and self.form != "lanes",
            self.planes,
            self.plane_bytes,
        )

    def unpack(self, raw: NDArray[np.uint8], value: ValueType) -> NDArray[Any]:
        """Return the value as the reference interpreter has it.

        Args:
            raw: uint8 `[B, image_bytes]`.
            value: its type.

        Returns:
            `[B, *value.shape]`.
        """
        batch = len(raw)
        if self.form == "lanes" and self.border == NO_BORDER and value.element in ("int32", "float32"):
            return raw.view(value.element).reshape(batch, *value.shape)
        height, width = self.height + self.border[0] + self.border[2], self.stored_width
        image = raw.reshape(batch, self.planes, height, width, self.pixel_bytes)
        top, left = self.border[:2]
        image = np.ascontiguousarray(image[:, :, top : top + self.height, left : left + self.width])
        if self.form == "lanes":
            elements: NDArray[Any] = image.view("float32" if value.element == "float32" else "int32")
            if value.is_sign or value.is_unsigned:  # stored as lanes for a sum
                elements = elements.astype(np.int8 if value.is_sign else np.uint8)
        elif self.form == "bytes":
            elements = image[..., : self.channels].astype(np.int8) - 1 if self.sign else image[..., : self.channels]
        else:
            elements = unpack_sign(image.view(np.uint64), self.channels)  # [B, planes, H, W, C]
            if not self.sign:
                weights = (1 << np.arange(self.planes, dtype=np.uint8)).reshape(-1, 1, 1, 1)
                elements = ((elements > 0) * weights).sum(axis=1, dtype=np.uint8)
        return elements.reshape(batch, *value.shape)


def image_shape(value: ValueType) -> tuple[int, int, int]:
    """Return height, width and channels of a value; all but `[H, W, C]` is a vector."""
    height, width, channels = value.shape if len(value.shape) == 3 else (1, 1, value.size)
    return height, width, channels


def form_of(value: ValueType) -> Form:
    """Return the form that a value takes where nobody asks for another."""
    return "bits" if value.is_sign else "bytes" if value.is_unsigned else "lanes"


def make_storage(
    memory: int, value: ValueType, form: Form, border: Sides = NO_BORDER, border_value: int = 0, *, exact: bool = False
) -> Storage:
    """Return the storage of a value.

    Args:
        memory: number of the memory.
        value: its type, `[K]` or `[H, W, C]`; any other shape is stored as a vector.
        form: one that fits the element.
        border: padding around it.
        border_value: what each byte of the border holds.
        exact: the caller's memory: bytes without room for whole quads.
    """
    height, width, channels = image_shape(value)
    pixel_bytes = {
        "bits": words_per_row(channels) * 8,
        "planes": words_per_row(channels) * 8,
        "bytes": channels if exact else -(-channels // _QUAD) * _QUAD,
        "lanes": channels * 4,
    }[form]
    planes = value.element.bits if form == "planes" and isinstance(value.element, BitFormat) else 1
    return Storage(memory, form, height, width, channels, pixel_bytes, planes, value.is_sign, border, border_value)
