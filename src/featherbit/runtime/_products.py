"""How each product of a graph is computed: which kernel, on which form of its input, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import BitFormat, WeightEncoding, pack_sign
from ..errors import GraphError
from ..ir import Conv2d, Graph, Product, ValueType, Window
from ._rates import product_cost
from ._storage import Form

_WORD_BITS, _QUAD = 64, 4
_INT8_BITS = 8
_INT8_SIGN_BITS = 7  # sums of signs of 8 bits reach 255, past int8
_MOST_DENSE_BYTES = (2**31 - 1) // 255  # sums of bytes, before the zero point is taken off, are int32
CHOICES = ("planes", "bytes")
_ONE_TAP = Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))


@dataclass(frozen=True)
class ProductPlan:
    """What computes a product.

    Args:
        kernel: `"dense"` (signs by rows in one piece), `"planes"`, `"bytes"` or `"depthwise"`.
        form: of the input.
        weight: packed weights, uint64 `[weight_bits * N, words]`.
        weight_bits: planes of the weights.
        encoding: of the weights.
        channels: of a tap, of one group.
        groups: of filters.
        window: how a filter moves.
        pad_value: what a padded tap stands for, less the zero point.
        reason: why this kernel.
    """

    kernel: str
    form: Form
    weight: NDArray[np.uint64]
    weight_bits: int
    encoding: WeightEncoding
    channels: int
    groups: int
    window: Window
    pad_value: int
    reason: str

    @property
    def taps(self) -> int:
        """Taps of a filter."""
        return self.window.kernel[0] * self.window.kernel[1]


def plan_products(graph: Graph, isa: str, forced: Mapping[str, str]) -> dict[str, ProductPlan]:
    """Return what computes each product, by the name of its value.

    Args:
        graph: what to run.
        isa: instruction set.
        forced: `"planes"` or `"bytes"` by layer path or value name, for products that can have either.

    Raises:
        GraphError: `forced` names no product, or a kernel that it cannot have; or a product has none.
    """
    products = [op for op in graph.ops if isinstance(op, Product)]
    unknown = set(forced) - {op.path for op in products} - {op.output for op in products}
    if unknown:
        known = ", ".join(op.path or op.output for op in products)
        raise GraphError(f"kernels names {min(unknown)!r}, which is no product of this network; there are: {known}")
    plans = {}
    for op in products:
        wish = forced.get(op.output) or forced.get(op.path)
        if wish is not None and wish not in CHOICES:
            raise GraphError(f"{op.label}: a kernel is one of {', '.join(CHOICES)}, got {wish!r}")
        plans[op.output] = _plan(op, graph.types[op.inputs[0]], isa, wish)
    return plans


def _plan(op: Product, value: ValueType, isa: str, wish: str | None) -> ProductPlan:
    conv = op if isinstance(op, Conv2d) else None
    groups = conv.groups if conv else 1
    if conv and groups > 1 and groups == op.out_features == conv.in_channels:
        return _refuse_wish(op, wish, _make(op, "depthwise", "bytes", "each channel has a filter of its own"))
    dense = conv is None and op.weight_bits == 1 and (value.is_sign or op.row_length <= _MOST_DENSE_BYTES)
    if dense and value.is_sign:
        return _refuse_wish(op, wish, _make(op, "dense", "bits", "signs by signs"))
    channels = (conv.in_channels if conv else op.row_length) // groups
    aligned = channels % (_WORD_BITS if value.is_sign else _QUAD) == 0
    if groups > 1 and not (aligned and (_has_planes(groups, channels) or _has_bytes(op))):
        return _refuse_wish(op, wish, _expand(op, value))
    kernel, reason = _cheaper(op, value, isa, channels, groups) if wish is None else (wish, "as asked for")
    if wish == "planes" and not _has_planes(groups, channels):
        raise GraphError(f"{op.label}: groups of {channels} channels do not fill words of bits; use bytes")
    if wish == "bytes" and not _has_bytes(op):
        raise GraphError(f"{op.label}: sums of 8 signs do not fit int8; use planes")
    if kernel == "planes":
        return _make(op, "planes", "bits" if value.is_sign else "planes", reason)
    return _make(op, "dense" if dense else "bytes", "bytes", reason)


def _refuse_wish(op: Product, wish: str | None, plan: ProductPlan) -> ProductPlan:
    if wish is not None:
        raise GraphError(f"{op.label}: its kernel cannot be chosen ({plan.reason})")
    return plan


def _has_planes(groups: int, channels: int) -> bool:
    return groups == 1 or channels % _WORD_BITS == 0


def _has_bytes(op: Product) -> bool:
    return op.weight_encoding == "twos_complement" or op.weight_bits <= _INT8_SIGN_BITS


def _cheaper(op: Product, value: ValueType, isa: str, channels: int, groups: int) -> tuple[str, str]:
    if not _has_planes(groups, channels):
        return "bytes", f"groups of {channels} channels do not fill words of bits"
    if not _has_bytes(op):
        return "planes", "sums of 8 signs do not fit int8"
    code_planes = value.element.bits if isinstance(value.element, BitFormat) else 1
    cost = product_cost(isa, channels, op.weight_bits, code_planes)
    return cost.cheaper, str(cost)


def _make(op: Product, kernel: str, form: Form, reason: str, **changes: Any) -> ProductPlan:
    conv = op if isinstance(op, Conv2d) else None
    groups = conv.groups if conv else 1
    fields: dict[str, Any] = {
        "weight": op.weight,
        "weight_bits": op.weight_bits,
        "encoding": op.weight_encoding,
        "channels": (conv.in_channels if conv else op.row_length) // groups,
        "groups": groups,
        "window": conv.window if conv else _ONE_TAP,
        "pad_value": conv.pad_value if conv else 0,
    }
    return ProductPlan(kernel=kernel, form=form, reason=reason, **(fields | changes))


def _expand(op: Product, value: ValueType) -> ProductPlan:
    """Give every filter all channels, with weight 0 for those of other groups.

    Groups that fill no words and no quads would be read bit by bit; zeros are faster.
    """
    assert isinstance(op, Conv2d)
    bits = op.weight_bits + (op.weight_encoding == "sign")
    in_planes = value.is_sign or bits > _INT8_BITS
    taps, channels, n = op.kernel[0] * op.kernel[1], op.in_channels // op.groups, op.out_features
    narrow = op.integer_weight().reshape(n, taps, channels)
    wide = np.zeros((n, taps, op.in_channels), dtype=np.int32)
    for index in range(n):
        first = index // (n // op.groups) * channels
        wide[index, :, first : first + channels] = narrow[index]
    return _make(
        op,
        "planes" if in_planes else "bytes",
        "bits" if value.is_sign else "planes" if in_planes else "bytes",
        f"{op.groups} groups of {channels} channels, widened with zeros",
        weight=_pack_planes(wide.reshape(n, -1), bits),
        weight_bits=bits,
        encoding="twos_complement",
        channels=op.in_channels,
        groups=1,
    )


def _pack_planes(weight: NDArray[np.int32], bits: int) -> NDArray[np.uint64]:
    """Pack integers in two's complement, plane by plane; a sum of 8 signs takes 9 bits, more than a file holds."""
    return np.concatenate([pack_sign(np.where((weight >> plane) & 1, 1, -1)) for plane in range(bits)])
