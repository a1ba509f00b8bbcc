"""Oracles for the packed network, in Python integers and fractions, and a packed file taken apart by hand."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oracles_bits import bit_of


def fma_oracle(a: float, b: float, c: float) -> np.float32:
    """Return `a * b + c` of three float32, rounded once to nearest, ties to even."""
    approximate = a * b + c  # in float64: right for what is not finite, and for the sign of an exact zero
    if not all(map(math.isfinite, (a, b, c))):
        return np.float32(approximate)
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return round_to_f32(exact) if exact else np.float32(approximate)


def round_to_f32(exact: Fraction) -> np.float32:
    """Return the float32 nearest to a fraction that is not 0, ties to even."""
    exponent = -126  # that of the smallest normal number; below it the spacing stays
    while abs(exact) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    spacing = Fraction(2) ** (exponent - 23)
    rounded = round(abs(exact) / spacing) * spacing  # round() of a Fraction: ties to even
    magnitude = math.inf if rounded >= 2**128 else float(rounded)
    return np.float32(math.copysign(magnitude, exact))


def run_oracle(graph: Any, item: NDArray[Any]) -> dict[str, list[Any]]:
    """Compute every value of a graph for one item of a batch, flattened, element by element."""
    values: dict[str, list[Any]] = {graph.ops[0].output: item.ravel().tolist()}
    for op in graph.ops[1:]:
        values[op.output] = _RULES[type(op).__name__](op, *(values[name] for name in op.inputs))
    return values


def _linear(op: Any, x: list[int]) -> list[int]:
    return [
        sum((x[k] - op.zero_point) * (1 if bit_of(row, k) else -1) for k in range(op.in_features)) for row in op.weight
    ]


def _threshold(op: Any, x: list[int]) -> list[int]:
    bits = [int(a >= int(t)) ^ bit_of(op.flips, n) for n, (a, t) in enumerate(zip(x, op.thresholds, strict=True))]
    return [1 if bit else -1 for bit in bits]


def _affine(op: Any, x: list[int]) -> list[np.float32]:
    parameters = list(zip(x, op.multiplier.tolist(), op.addend.tolist(), strict=True))
    if op.fused:
        return [fma_oracle(float(a), m, c) for a, m, c in parameters]
    products = [float(fma_oracle(float(a), m, -0.0)) for a, m, _ in parameters]
    return [fma_oracle(p, 1.0, c) for p, (_, _, c) in zip(products, parameters, strict=True)]


def _quantize(op: Any, x: list[float]) -> list[int]:
    half = 2 ** (op.bits - 1)
    bounded = [min(max(value, -2.0), 2.0) for value in x]  # an infinity has no fraction
    return [min(max(round(Fraction(value) * half), -half), half - 1) + half for value in bounded]


_RULES = {
    "Flatten": lambda op, x: x,
    "PackSign": lambda op, x: [1 if value >= 0 else -1 for value in x],
    "QuantizeLinear": _quantize,
    "Linear": _linear,
    "Threshold": _threshold,
    "Affine": _affine,
}


def assert_same_floats(got: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Assert equality to the bit, except that one NaN is as good as another."""
    assert got.dtype == expected.dtype == np.float32
    assert got.shape == expected.shape
    same = (got.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(got) & np.isnan(expected))
    wrong = np.flatnonzero(~same)
    assert not wrong.size, (
        f"first at {wrong[0]}: got {got.ravel()[wrong[0]]!r}, expected {expected.ravel()[wrong[0]]!r}"
    )


@dataclass
class Parts:
    """A packed file taken apart: the safetensors header, the graph inside it, and the tensors' bytes."""

    header: dict[str, Any]
    graph: Any
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> Parts:
        """Take a file apart."""
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        return cls(header, json.loads(header["__metadata__"]["featherbit"]), data[start:])

    def to_bytes(self) -> bytes:
        """Put it together again."""
        if "featherbit" in self.header.get("__metadata__", {}):
            self.header["__metadata__"]["featherbit"] = json.dumps(self.graph)
        return container(json.dumps(self.header).encode(), self.body)

    def op(self, output: str) -> dict[str, Any]:
        """Return the description of the op that writes a value."""
        return next(op for op in self.graph["ops"] if op["output"] == output)

    def drop(self, tensor: str) -> None:
        """Take a tensor and its bytes out."""
        begin, end = self.header.pop(tensor)["data_offsets"]
        self.body = self.body[:begin] + self.body[end:]
        for name, entry in self.header.items():
            if name != "__metadata__" and entry["data_offsets"][0] >= end:
                entry["data_offsets"] = [offset - (end - begin) for offset in entry["data_offsets"]]

    def append(self, tensor: str, dtype: str, shape: list[int], data: bytes) -> None:
        """Put a tensor at the end."""
        offsets = [len(self.body), len(self.body) + len(data)]
        self.header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        self.body += data

    def replace(self, tensor: str, dtype: str, shape: list[int], data: bytes) -> None:
        """Put another tensor in a tensor's place."""
        self.drop(tensor)
        self.append(tensor, dtype, shape, data)


def container(header: bytes, body: bytes = b"") -> bytes:
    """Return a safetensors file with any header at all, padded to a multiple of 8 bytes."""
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + body
