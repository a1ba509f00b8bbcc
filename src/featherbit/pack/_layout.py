"""Orders: where the elements of a graph's value are in the captured tensor."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ._values import Order

Shape = tuple[int, ...]


def image_shape(shape: Shape) -> Shape:
    """Return the graph's shape of a captured image `[C, H, W]` or signal `[C, L]`.

    >>> image_shape((3, 5, 4)), image_shape((3, 5))
    ((5, 4, 3), (1, 5, 3))
    """
    return (*((1,) * (3 - len(shape))), *shape[1:], shape[0])


def channels_last(shape: Shape) -> Order:
    """Return the order of a channels-last image of a captured tensor `[C, *S]`.

    >>> channels_last((2, 3))
    array([0, 3, 1, 4, 2, 5])
    """
    return normal(np.moveaxis(indices(shape), 0, -1).ravel())


def indices(shape: Shape) -> NDArray[np.int64]:
    """Return the index of each element of a flat tensor, in a shape."""
    return np.arange(math.prod(shape), dtype=np.int64).reshape(shape)


def normal(order: NDArray[np.int64]) -> Order:
    """Return None for the order that changes nothing."""
    return None if np.array_equal(order, np.arange(len(order))) else order


def expanded(order: Order, size: int) -> NDArray[np.int64]:
    """Return an order as an array."""
    return np.arange(size, dtype=np.int64) if order is None else order


def inverted(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each element of the captured tensor is in the graph's value."""
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return inverse


def same(a: Order, b: Order) -> bool:
    """Whether two orders are one."""
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))
