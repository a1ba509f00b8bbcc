"""The paper's MNIST network, 784 - 3 x 4096 - 10, from pixels to scores.

Ours takes the raw bytes and does everything in the timed call. The peers are tuned: batch norm folded into the weights,
inputs converted before the clock starts, int8 peers quantized per channel with static scales.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import FeatherbitError
from ..runtime import Session
from . import _onnx
from ._case import Call, Contest, Peer, Setting, case
from ._network import ZERO_POINT, Network, folded, random_network, to_graph, torch_float32, torch_int8
from ._variants import fastest

Pixels = NDArray[np.uint8]


@case("mnist-mlp-4096-batch1", "784 - 3 x 4096 - 10, one image a call")
def mnist_mlp_4096_batch1(setting: Setting) -> Contest:
    """Build the paper's network for one image."""
    return contest(random_network(784, 4096, 3, 10, setting.seed), 1, setting)


@case("mnist-mlp-4096-testset", "784 - 3 x 4096 - 10, 10,000 images in one call")
def mnist_mlp_4096_testset(setting: Setting) -> Contest:
    """Build the paper's network for the whole test set in one batch."""
    return contest(random_network(784, 4096, 3, 10, setting.seed), 10_000, setting)


def contest(network: Network, batch: int, setting: Setting) -> Contest:
    """Build the contest on random pixels; check that ours equals torch float32.

    Args:
        network: which.
        batch: images in a call.
        setting: threads, instruction set, seed of the pixels.

    Raises:
        FeatherbitError: they differ.
    """
    in_features = network.hidden[0].weight.shape[1]
    pixels = np.random.default_rng(setting.seed).integers(0, 256, (batch, in_features), dtype=np.uint8)
    session = Session(to_graph(network), isa=setting.isa, threads=setting.threads)
    centered = torch.from_numpy(pixels.astype(np.float32) - ZERO_POINT)
    run_float32 = torch_float32(network)
    if not np.array_equal(session.run(pixels), run_float32(centered).numpy()):
        raise FeatherbitError(f"the packed network differs from torch float32 on {batch} images")
    return Contest(
        lambda: session.run(pixels),
        (
            Peer("torch float32", lambda: run_float32(centered), "batch norm folded"),
            _torch_int8(network, pixels),
            _onnx.peer("onnxruntime float32", lambda: _onnx_float32(network, centered.numpy(), setting.threads)),
            _onnx.peer("onnxruntime int8", lambda: _onnx_int8(network, pixels, setting.threads)),
        ),
    )


def _torch_int8(network: Network, pixels: Pixels) -> Peer:
    centered = torch.from_numpy((pixels.astype(np.int16) - ZERO_POINT).astype(np.int8))
    by_column, by_row = (torch_int8(network, by_column=by_column) for by_column in (True, False))
    return fastest(
        "torch int8",
        {
            "_int_mm, weights column-major": lambda: by_column(centered),
            "_int_mm, weights row-major": lambda: by_row(centered),
        },
    )


def _onnx_float32(network: Network, x: NDArray[np.float32], threads: int) -> dict[str, Call]:
    layers = folded(network)
    nodes: list[_onnx.Node] = []
    constants: dict[str, _onnx.Array] = {}
    source = "x"
    for index, (weight, bias) in enumerate(layers):
        constants |= {f"w{index}": np.ascontiguousarray(weight.T), f"b{index}": bias}
        nodes.append(("Gemm", [source, f"w{index}", f"b{index}"], [f"y{index}"], {}))
        source = f"y{index}"
        if index < len(layers) - 1:
            nodes.append(("Sign", [source], [f"s{index}"], {}))
            source = f"s{index}"
    return {"Gemm and Sign": _onnx.session_call(nodes, constants, x, (source, np.float32), threads)}


def _onnx_int8(network: Network, pixels: Pixels, threads: int) -> dict[str, Call]:
    return {
        "static, QGemm per channel": _qgemm(network, pixels, threads),
        "dynamic, MatMulInteger": _dynamic(network, pixels, threads),
    }


def _qgemm(network: Network, pixels: Pixels, threads: int) -> Call:
    """Requantize inside each product; the saturation of int8 is the activation, and nothing runs between products."""
    nodes: list[_onnx.Node] = []
    constants: dict[str, _onnx.Array] = {
        "x_scale": np.array(1.0, dtype=np.float32),
        "x_zero": np.array(ZERO_POINT, dtype=np.uint8),
        "a_scale": np.array(1.0 / 127, dtype=np.float32),
        "a_zero": np.array(ZERO_POINT, dtype=np.uint8),
    }
    source, kind = "x", "x"
    layers = folded(network)
    for index, (weight, bias) in enumerate(layers):
        channel_scale = np.full(len(weight), np.abs(weight).max(), dtype=np.float32)
        input_scale = constants[f"{kind}_scale"]
        constants |= {
            f"w{index}": np.ascontiguousarray((weight / channel_scale[:, None]).T).astype(np.int8),
            f"scale{index}": channel_scale,
            f"zero{index}": np.zeros(len(weight), dtype=np.int8),
            f"b{index}": np.rint(bias / (channel_scale * input_scale)).astype(np.int32),
        }
        inputs = [source, f"{kind}_scale", f"{kind}_zero", f"w{index}", f"scale{index}", f"zero{index}", f"b{index}"]
        requantize = ["a_scale", "a_zero"] if index < len(layers) - 1 else []  # the last one gives float32
        nodes.append(("QGemm", inputs + requantize, [f"y{index}"], {}))
        source, kind = f"y{index}", "a"
    return _onnx.session_call(nodes, constants, pixels, (source, np.float32), threads)


def _dynamic(network: Network, pixels: Pixels, threads: int) -> Call:
    """Integer products with float32 between them, the form of ONNX Runtime's dynamic quantization."""
    nodes: list[_onnx.Node] = [("Cast", ["x"], ["real"], {"to": 1})]  # 1 is FLOAT
    constants: dict[str, _onnx.Array] = {"w_zero": np.array(0, dtype=np.int8)}
    source = "real"
    layers = folded(network)
    for index, (weight, bias) in enumerate(layers):
        scale = np.abs(weight).max()
        constants |= {
            f"w{index}": np.ascontiguousarray((weight / scale).T).astype(np.int8),
            f"scale{index}": np.array(scale, dtype=np.float32),
            f"b{index}": bias,
        }
        nodes += [
            ("DynamicQuantizeLinear", [source], [f"q{index}", f"qs{index}", f"qz{index}"], {}),
            ("MatMulInteger", [f"q{index}", f"w{index}", f"qz{index}", "w_zero"], [f"i{index}"], {}),
            ("Cast", [f"i{index}"], [f"f{index}"], {"to": 1}),
            ("Mul", [f"qs{index}", f"scale{index}"], [f"m{index}"], {}),
            ("Mul", [f"f{index}", f"m{index}"], [f"p{index}"], {}),
            ("Add", [f"p{index}", f"b{index}"], [f"y{index}"], {}),
        ]
        source = f"y{index}"
        if index < len(layers) - 1:
            nodes.append(("Sign", [source], [f"s{index}"], {}))
            source = f"s{index}"
    return _onnx.session_call(nodes, constants, pixels, (source, np.float32), threads)
