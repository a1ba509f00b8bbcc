"""One checked function per native kernel. Every array must be C-contiguous; results are new arrays."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..bits import words_per_row
from ..errors import KernelError
from . import _native
from ._isa import resolve_isa
from ._memory import aligned_empty

_GROUP = 16  # columns of a panel group, as in csrc/kernels.h
MAX_THREADS = 1024
"""More than that is a mistake: OpenMP ends the process when it cannot start a thread."""
_MAX_BYTES_K = 2**23  # 255 * k must stay below 2^31


class Panel:
    """Sign weights repacked once for a product.

    The kernels accept it in place of the plain rows.

    Args:
        weights: uint64 `[N, words_per_row(k)]`, bit 1 = +1.
        k: elements of a row.
        operand: what it will be multiplied with: `"u1"` (sign rows) or `"u8"` (byte rows).

    Raises:
        KernelError: wrong shape, dtype or operand.
    """

    def __init__(self, weights: NDArray[np.uint64], k: int, operand: Literal["u1", "u8"] = "u1") -> None:
        if operand not in ("u1", "u8"):
            raise KernelError(f"operand must be 'u1' or 'u8', got {operand!r}")
        limit = 2**31 if operand == "u1" else _MAX_BYTES_K
        if not 0 <= k < limit:
            raise KernelError(f"k must be 0 .. {limit - 1} so that int32 sums cannot overflow, got {k}")
        _check("weights", weights, np.uint64, 2, words_per_row(k))
        self.operand = operand
        self.n = weights.shape[0]
        self.k = k
        self._native = _native.Panel(weights, k, operand == "u8")


def gemm_u1u1(
    a: NDArray[np.uint64],
    b: NDArray[np.uint64] | Panel,
    k: int,
    *,
    isa: str | None = None,
    threads: int = 1,
    out: NDArray[np.int32] | None = None,
) -> NDArray[np.int32]:
    """Multiply rows of signs: `k - 2 * popcount(a[m] ^ b[n])`.

    Args:
        a: uint64 `[M, words_per_row(k)]`, bit 1 = +1, tail bits zero.
        b: uint64 `[N, words_per_row(k)]`, or a `Panel` of it.
        k: elements of a row, below 2^31.
        isa: instruction set; None is the active one.
        threads: at least 1.
        out: where to write the result, int32 `[M, N]`; None is new memory.

    Returns:
        int32 `[M, N]`, each -k .. k.

    Raises:
        KernelError: wrong shape, dtype, ISA or thread count.

    >>> ones = np.array([[3]], dtype=np.uint64)
    >>> gemm_u1u1(ones, ones, 2).tolist()
    [[2]]
    """
    panel = _panel(b, k, "u1")
    _check("a", a, np.uint64, 2, words_per_row(k))
    return _multiply(_native.gemm_u1u1, a, panel, isa, threads, out)


def gemm_u8u1(
    a: NDArray[np.uint8],
    b: NDArray[np.uint64] | Panel,
    *,
    isa: str | None = None,
    threads: int = 1,
    out: NDArray[np.int32] | None = None,
) -> NDArray[np.int32]:
    """Multiply rows of bytes with rows of signs: `sum_k a[m, k] * b[n, k]`.

    Args:
        a: uint8 `[M, K]`, K below 2^23.
        b: uint64 `[N, words_per_row(K)]`, bit 1 = +1, or a `Panel(..., operand="u8")` of it.
        isa: instruction set; None is the active one.
        threads: at least 1.
        out: where to write the result, int32 `[M, N]`; None is new memory.

    Returns:
        int32 `[M, N]`, each -255 K .. 255 K.

    Raises:
        KernelError: wrong shape, dtype, ISA or thread count.
    """
    _check("a", a, np.uint8, 2, None)
    return _multiply(_native.gemm_u8u1, a, _panel(b, a.shape[1], "u8"), isa, threads, out)


def pack_f32u1(x: NDArray[np.float32], *, isa: str | None = None, threads: int = 1) -> NDArray[np.uint64]:
    """Pack the signs of float32 rows: bit 1 where `x >= 0` (zero is +1, NaN is -1).

    Args:
        x: float32 `[M, K]`.
        isa: instruction set; None is the active one.
        threads: at least 1.

    Returns:
        uint64 `[M, words_per_row(K)]`.

    Raises:
        KernelError: wrong shape, dtype, ISA or thread count.
    """
    _check("x", x, np.float32, 2, None)
    out = aligned_empty((x.shape[0], words_per_row(x.shape[1])), np.uint64)
    _native.pack_f32u1(resolve_isa(isa), x, out, _check_threads(threads))
    return out


def threshold_i32u1(
    acc: NDArray[np.int32], thresholds: NDArray[np.int32], flips: NDArray[np.uint64], *, isa: str | None = None
) -> NDArray[np.uint64]:
    """Compare each column with its threshold and pack.

    Bit = `(acc >= threshold) XOR flip`.

    Args:
        acc: int32 `[M, N]`.
        thresholds: int32 `[N]`.
        flips: uint64 `[words_per_row(N)]`.
        isa: instruction set; None is the active one.

    Returns:
        uint64 `[M, words_per_row(N)]`, tail bits zero.

    Raises:
        KernelError: wrong shape, dtype or ISA.
    """
    _check("acc", acc, np.int32, 2, None)
    n = acc.shape[1]
    _check("thresholds", thresholds, np.int32, 1, n)
    _check("flips", flips, np.uint64, 1, words_per_row(n))
    padded = np.zeros(-(-n // _GROUP) * _GROUP, dtype=np.int32)
    padded[:n] = thresholds
    out = aligned_empty((acc.shape[0], words_per_row(n)), np.uint64)
    _native.threshold_i32u1(resolve_isa(isa), acc, padded, flips, out)
    return out


def _multiply(
    kernel: Any, a: NDArray[Any], panel: Panel, isa: str | None, threads: int, out: NDArray[np.int32] | None
) -> NDArray[np.int32]:
    shape = (a.shape[0], panel.n)
    if out is None:
        out = aligned_empty(shape, np.int32)
    _check("out", out, np.int32, 2, panel.n)
    if out.shape != shape or not out.flags.writeable:
        raise KernelError(f"out must be writeable and have shape {shape}, got {out.shape}")
    kernel(resolve_isa(isa), a, panel._native, out, _check_threads(threads))
    return out


def _panel(b: NDArray[np.uint64] | Panel, k: int, operand: Literal["u1", "u8"]) -> Panel:
    if not isinstance(b, Panel):
        return Panel(b, k, operand)
    if b.operand != operand or b.k != k:
        raise KernelError(f"a panel for {operand} with k = {k} is needed, got one for {b.operand} with k = {b.k}")
    return b


def _check(name: str, array: NDArray[Any], dtype: DTypeLike, ndim: int, last: int | None) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype) or array.ndim != ndim:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise KernelError(f"{name} must be a {ndim}-d array of {np.dtype(dtype)}, got {found}")
    if last is not None and array.shape[-1] != last:
        raise KernelError(f"{name} must have {last} elements in its last dimension, got shape {array.shape}")
    if not array.flags.c_contiguous:
        raise KernelError(f"{name} must be C-contiguous; call numpy.ascontiguousarray first")


def _check_threads(threads: int) -> int:
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
        raise KernelError(f"threads must be an integer from 1 to {MAX_THREADS}, got {threads!r}")
    return threads
