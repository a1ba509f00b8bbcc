"""ONNX Runtime as a peer: the float network as an ONNX model, in float32 and quantized by its own tool.

int8 is static: ONNX Runtime's quantizer calibrates on the very batch that is timed and quantizes weights per channel
(s8, the form of VNNI), activations per tensor (u8); batch norm is folded and ReLU becomes the saturation of u8. Both
forms that it writes compete, operators that hold the scales (`QLinearConv`) and quantize-dequantize pairs that the
session fuses.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _onnx
from ._case import Call, Peer
from ._float_net import SOURCE, AddRelu, Convolve, GlobalMean, MaxPool, Multiply, Node

_FORMS = ("QOperator", "QDQ")


def float32_peer(nodes: Sequence[Node], x: NDArray[np.float32], threads: int) -> Peer:
    """Return ONNX Runtime float32 on a batch.

    Args:
        nodes: the float network.
        x: float32 `[B, C, H, W]`.
        threads: within an operator.
    """

    def build() -> dict[str, Call]:
        return {"batch norm and ReLU fused": _onnx.run_model(model(nodes, x), x, threads)}

    return _onnx.peer("onnxruntime float32", build)


def int8_peer(nodes: Sequence[Node], x: NDArray[np.float32], threads: int) -> Peer:
    """Return ONNX Runtime int8 on a batch, the faster of its two forms.

    Args:
        nodes: the float network.
        x: float32 `[B, C, H, W]`.
        threads: within an operator.
    """

    def build() -> dict[str, Call]:
        float_model = model(nodes, x)
        return {
            f"static, per channel, u8 x s8, {form}": _onnx.run_model(quantized(float_model, x, form), x, threads)
            for form in _FORMS
        }

    return _onnx.peer("onnxruntime int8", build)


def model(nodes: Sequence[Node], x: NDArray[np.float32]) -> bytes:
    """Return the float network as an ONNX model for batches like `x`."""
    made: list[_onnx.Node] = []
    constants: dict[str, _onnx.Array] = {}
    for node in nodes:
        _write(node, made, constants)
    return _onnx.model_bytes(made, constants, x, (nodes[-1].output, np.float32))


def quantized(float_model: bytes, x: NDArray[np.float32], form: str) -> bytes:
    """Return a float model quantized to int8: static, per channel.

    Args:
        float_model: serialized ONNX.
        x: the batch to calibrate with.
        form: `"QOperator"` or `"QDQ"`.
    """
    tool: Any = importlib.import_module("onnxruntime.quantization")
    feeds = iter([{SOURCE: x}])

    class Reader(tool.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(feeds, None)

    # Advice about preprocessing and missing shapes goes to the root logger; the model is as simple as it gets.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
            source.write_bytes(float_model)
            tool.quantize_static(
                source,
                target,
                Reader(),
                quant_format=tool.QuantFormat[form],
                per_channel=True,
                activation_type=tool.QuantType.QUInt8,
                weight_type=tool.QuantType.QInt8,
            )
            return target.read_bytes()
    finally:
        logging.disable(before)


@singledispatch
def _write(node: Node, made: list[_onnx.Node], constants: dict[str, _onnx.Array]) -> None:
    raise NotImplementedError(type(node).__name__)


@_write.register
def _(node: Convolve, made: list[_onnx.Node], constants: dict[str, _onnx.Array]) -> None:
    kernel = node.weight.shape[-1]
    attributes = {"kernel_shape": [kernel] * 2, "strides": [node.stride] * 2, "pads": [node.padding] * 4}
    _write_product("Conv", node, made, constants, attributes)


@_write.register
def _(node: Multiply, made: list[_onnx.Node], constants: dict[str, _onnx.Array]) -> None:
    made.append(("Flatten", node.inputs, [f"{node.output}.flat"], {}))
    _write_product("Gemm", node, made, constants, {"transB": 1}, f"{node.output}.flat")


@_write.register
def _(node: MaxPool, made: list[_onnx.Node], constants: dict[str, _onnx.Array]) -> None:
    attributes = {"kernel_shape": [node.kernel] * 2, "strides": [node.stride] * 2, "pads": [node.padding] * 4}
    made.append(("MaxPool", node.inputs, [node.output], attributes))


@_write.register
def _(node: AddRelu, made: list[_onnx.Node], constants: dict[str, _onnx.Array]) -> None:
    made.append(("Add", node.inputs, [f"{node.output}.sum"], {}))
    made.append(("Relu", [f"{node.output}.sum"], [node.output], {}))


@_write.register
def _(node: GlobalMean, made: list[_onnx.Node], constants: dict[str, _onnx.Array]) -> None:
    made.append(("GlobalAveragePool", node.inputs, [f"{node.output}.mean"], {}))
    made.append(("Flatten", [f"{node.output}.mean"], [node.output], {}))


def _write_product(
    op: str,
    node: Convolve | Multiply,
    made: list[_onnx.Node],
    constants: dict[str, _onnx.Array],
    attributes: dict[str, Any],
    source: str = "",
) -> None:
    weight, bias = f"{node.output}.weight", f"{node.output}.bias"
    constants |= {weight: node.weight, bias: node.bias}
    product = f"{node.output}.sum" if node.relu else node.output
    made.append((op, [source or node.inputs[0], weight, bias], [product], attributes))
    if node.relu:
        made.append(("Relu", [product], [node.output], {}))
