"""Which kernel computes a product: bit-planes or bytes, by what each costs on this machine.

A product of w-bit weights and a-bit codes takes `w * a` passes of the bit kernel, or one of the byte kernel. How fast
each is depends on the processor, so both are timed once, on a small convolution, and the result is kept in a file of
the user's cache folder (`FEATHERBIT_CACHE` names another); a session then only multiplies.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter

import numpy as np

from ..bits import words_per_row
from ..kernels import _native

CACHE_VARIABLE = "FEATHERBIT_CACHE"
_VERSION = 1
_REPEATS = 15
_QUAD = 4


@dataclass(frozen=True)
class Rates:
    """Products a second, of pairs of bits and of bytes with weights.

    Both are in one unit, whichever.
    """

    bits: float
    bytes: float


@dataclass(frozen=True)
class Cost:
    """What the two kernels would take for one product, relative to each other.

    Args:
        planes: pairs of bit-planes, their channels rounded up to words, by the rate of bits.
        bytes: channels rounded up to four, by the rate of bytes.
    """

    planes: float
    bytes: float

    @property
    def cheaper(self) -> str:
        """`"planes"` or `"bytes"`."""
        return "planes" if self.planes <= self.bytes else "bytes"

    def __str__(self) -> str:
        return f"bit-planes : bytes = {self.planes / self.bytes:.2f} : 1"


def product_cost(isa: str, channels: int, weight_planes: int, code_planes: int) -> Cost:
    """Return what a product costs in planes and in bytes.

    Args:
        isa: instruction set.
        channels: of one tap.
        weight_planes: bits of a weight.
        code_planes: bits of a code.
    """
    rates = measured_rates(isa)
    words = words_per_row(channels) * 64
    quads = -(-channels // _QUAD) * _QUAD
    return Cost(weight_planes * code_planes * words / rates.bits, quads / rates.bytes)


@cache
def measured_rates(isa: str) -> Rates:
    """Return the rates of an instruction set on this machine.

    They come from the cache file, or are measured and kept there.
    """
    path = _cache_file()
    known = _read(path)
    if isa not in known:
        known = known | {isa: _measure(isa)}
        _write(path, known)
    return Rates(*known[isa])


def _cache_file() -> Path:
    folder = os.environ.get(CACHE_VARIABLE)
    base = Path(folder) if folder else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "featherbit"
    return base / f"rates-{_VERSION}-{_processor()}.json"


def _processor() -> str:
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    fields = [line.split(":")[1].strip() for line in lines if line.startswith(("cpu family", "model\t", "model name"))]
    return "".join(c if c.isalnum() else "-" for c in "-".join(fields[:3]) or name)


def _read(path: Path) -> dict[str, tuple[float, float]]:
    """Return the rates of a cache file; one that is missing or damaged holds none."""
    try:
        table = json.loads(path.read_text())
        rates = {str(isa): (float(bits), float(in_bytes)) for isa, (bits, in_bytes) in table.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {isa: pair for isa, pair in rates.items() if min(pair) > 0}


def _write(path: Path, rates: dict[str, tuple[float, float]]) -> None:
    """Keep the rates; where the folder cannot be written, they are measured again by the next process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(descriptor, "w") as file:
            json.dump(rates, file)
        os.replace(name, path)
    except OSError:
        return


def _measure(isa: str) -> tuple[float, float]:
    """Time a 3 x 3 convolution, 256 channels to 128, on 8 x 8 pixels, with both kernels in turn; the best counts."""
    calls = {kernel: _convolution(isa, kernel) for kernel in ("bits", "bytes")}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(_REPEATS):
        for kernel, call in calls.items():
            start = perf_counter()
            call()
            best[kernel] = min(best[kernel], perf_counter() - start)
    return 1.0 / best["bits"], 1.0 / best["bytes"]


def _convolution(isa: str, kernel: str) -> Callable[[], None]:
    channels, columns, side, taps, images = 256, 128, 8, 9, 1
    in_bits = kernel == "bits"
    pixel_bytes = channels // 8 if in_bits else channels
    stored = side + 2
    offsets = np.arange(stored * stored, dtype=np.int64).reshape(stored, stored) * pixel_bytes
    rows, runs = (np.ascontiguousarray(part).reshape(-1) for part in (offsets[:side, :side], offsets[:3, 0]))
    run_length = 3 * (words_per_row(channels) if in_bits else channels // _QUAD)
    activations = _native.activations(0, rows, runs, run_length, in_bits, 1, 0, 0, 1 if in_bits else 255, 0, 0)
    padding = _native.padding(np.zeros((1, taps), np.uint8), np.zeros(len(rows), np.uint16), 3, 0)
    words = np.full((columns, words_per_row(taps * channels)), 0x5A5A5A5A5A5A5A5A, dtype=np.uint64)
    step = _native.Step(isa, len(rows), columns)
    form = getattr(_native.Form, kernel)
    step.gather(form, activations, padding, words, taps, channels, 1, _native.Encoding.sign, 1)
    lanes = _native.source(1, _native.Form.lanes, False, 1, 0)
    step.store(lanes, np.arange(len(rows), dtype=np.int64) * columns * 4, columns * 4)
    image_bytes = [stored * stored * pixel_bytes, len(rows) * columns * 4]
    plan = _native.Plan([step], image_bytes)
    source, target = (np.zeros((images, size), dtype=np.uint8) for size in image_bytes)
    return lambda: _native.run([plan, None, None], [source, target], 0, 1, images, 1, [])
