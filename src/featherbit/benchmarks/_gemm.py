"""The product of two matrices of +-1, each contestant in the form that its users have.

Weights are prepared once by everybody: ours packs them into a panel, torch int8 transposes them, ONNX Runtime repacks
them. `gemm-*` starts from float32 activations and packs them in every call; `gemm-*-prepacked` is the bare product.
The int8 peers start from int8 activations: a quantized network hands them over like that. Ours and torch write into
memory that is kept from call to call, as an inference engine's are: fresh memory of this size costs the system's page
faults.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .. import bits, kernels
from ..errors import FeatherbitError
from . import _onnx
from ._case import Call, Contest, Peer, Setting, case
from ._variants import fastest


@dataclass(frozen=True)
class Problem:
    """`a @ b.T` for `a` [M, K] and `b` [N, K] of +-1, float32."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]


def random_problem(m: int, n: int, k: int, seed: int) -> Problem:
    """Return a problem of that size with random signs."""
    rng = np.random.default_rng(seed)
    return Problem(*(rng.integers(0, 2, (rows, k), dtype=np.int8).astype(np.float32) * 2 - 1 for rows in (m, n)))


@case("gemm-4096", "4096 x 4096 by 4096 x 4096, packing of the float32 activations included")
def gemm_4096(setting: Setting) -> Contest:
    """Build the product of the issue's size, activations packed in each call."""
    return contest(random_problem(4096, 4096, 4096, setting.seed), setting, prepacked=False)


@case("gemm-4096-prepacked", "the same, both sides packed before: the bare product")
def gemm_4096_prepacked(setting: Setting) -> Contest:
    """Build the product of the issue's size, activations packed before."""
    return contest(random_problem(4096, 4096, 4096, setting.seed), setting, prepacked=True)


@case("gemm-256", "256 x 256 by 256 x 256: what a call costs beside its arithmetic")
def gemm_256(setting: Setting) -> Contest:
    """Build a small product, activations packed in each call."""
    return contest(random_problem(256, 256, 256, setting.seed), setting, prepacked=False)


def contest(problem: Problem, setting: Setting, *, prepacked: bool) -> Contest:
    """Build the contest and check that ours equals torch float32 exactly.

    Args:
        problem: the two matrices.
        setting: threads and instruction set.
        prepacked: whether our activations are packed before the timed call.

    Raises:
        FeatherbitError: they differ.
    """
    ours = _ours(problem, setting, prepacked=prepacked)
    x, w = torch.from_numpy(problem.a), torch.from_numpy(problem.b)

    product = torch.empty(len(x), len(w))

    @torch.inference_mode()
    def torch_float32() -> torch.Tensor:
        return torch.mm(x, w.t(), out=product)

    # |sums| <= K < 2^24, so float32 holds every partial sum exactly, in whatever order they are added.
    if not np.array_equal(np.asarray(ours()), torch_float32().numpy()):
        raise FeatherbitError(f"the packed product differs from torch float32 at {problem.a.shape} x {problem.b.shape}")
    return Contest(
        ours,
        (
            Peer("torch float32", torch_float32),
            _torch_int8(problem),
            _onnx.peer("onnxruntime float32", lambda: _onnx_float32(problem, setting.threads)),
            _onnx.peer("onnxruntime int8", lambda: _onnx_int8(problem, setting.threads)),
        ),
    )


def _ours(problem: Problem, setting: Setting, *, prepacked: bool) -> Call:
    k = problem.a.shape[1]
    panel = kernels.Panel(bits.pack_sign(problem.b), k, "u1")
    isa, threads = setting.isa, setting.threads
    out = kernels.aligned_empty((len(problem.a), len(problem.b)), np.int32)
    if prepacked:
        words = bits.pack_sign(problem.a)
        return lambda: kernels.gemm_u1u1(words, panel, k, isa=isa, threads=threads, out=out)

    def pack_and_multiply() -> NDArray[np.int32]:
        words = kernels.pack_f32u1(problem.a, isa=isa, threads=threads)
        return kernels.gemm_u1u1(words, panel, k, isa=isa, threads=threads, out=out)

    return pack_and_multiply


def _torch_int8(problem: Problem) -> Peer:
    x = torch.from_numpy(problem.a).to(torch.int8)
    w = torch.from_numpy(problem.b).to(torch.int8)
    by_column, by_row = w.t(), w.t().contiguous()  # [K, N], two layouts
    product = torch.empty(len(x), len(w), dtype=torch.int32)
    return fastest(
        "torch int8",
        {
            "_int_mm, weights column-major": lambda: torch._int_mm(x, by_column, out=product),
            "_int_mm, weights row-major": lambda: torch._int_mm(x, by_row, out=product),
        },
    )


def _onnx_float32(problem: Problem, threads: int) -> dict[str, Call]:
    nodes: list[_onnx.Node] = [("MatMul", ["x", "w"], ["y"], {})]
    weights = {"w": np.ascontiguousarray(problem.b.T)}
    return {"MatMul": _onnx.session_call(nodes, weights, problem.a, ("y", np.float32), threads)}


def _onnx_int8(problem: Problem, threads: int) -> dict[str, Call]:
    w = np.ascontiguousarray(problem.b.T).astype(np.int8)
    signed = problem.a.astype(np.int8)
    unsigned = (signed + 1).astype(np.uint8)
    zeros = {"x_zero": np.array(1, dtype=np.uint8), "w_zero": np.array(0, dtype=np.int8)}
    plain: list[_onnx.Node] = [("MatMulInteger", ["x", "w"], ["y"], {})]
    offset: list[_onnx.Node] = [("MatMulInteger", ["x", "w", "x_zero", "w_zero"], ["y"], {})]
    return {
        "MatMulInteger, s8 x s8": _onnx.session_call(plain, {"w": w}, signed, ("y", np.int32), threads),
        "MatMulInteger, u8 x s8": _onnx.session_call(offset, {"w": w, **zeros}, unsigned, ("y", np.int32), threads),
    }
