"""ONNX Runtime as a peer of the packed LSTM: its LSTM operator in float32, and quantized to int8 by its own tool.

Its calls start from a state of zeros instead of handing one on, which costs them nothing. int8 is dynamic, as ONNX
Runtime offers it for an LSTM (`DynamicQuantizeLSTM`), weights s8 per tensor or per channel.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from . import _onnx
from ._recurrent_torch import PlainLstm

_GATES = [0, 3, 1, 2]  # torch has input, forget, cell, output; ONNX has input, output, forget, cell


def model(plain: PlainLstm, tokens: NDArray[np.int64]) -> bytes:
    """Return the network as an ONNX model, from tokens to scores `[T, B, tokens]`.

    Args:
        plain: the network.
        tokens: `[T, B]`, an example.
    """
    gates = {name: _gates(parameter) for name, parameter in plain.recurrent.named_parameters()}
    constants: dict[str, _onnx.Array] = {
        "table": _array(plain.embedding.weight),
        "input": gates["weight_ih_l0"][None],  # [1, 4 H, E]
        "hidden": gates["weight_hh_l0"][None],  # [1, 4 H, H]
        "biases": np.concatenate([gates["bias_ih_l0"], gates["bias_hh_l0"]])[None],  # [1, 8 H]
        "direction": np.array([1]),
        "weight": np.ascontiguousarray(_array(plain.scores.weight).T),
        "bias": _array(plain.scores.bias),
    }
    nodes: list[_onnx.Node] = [
        ("Gather", ["table", "x"], ["embedded"], {}),
        ("LSTM", ["embedded", "input", "hidden", "biases"], ["outputs"], {"hidden_size": plain.recurrent.hidden_size}),
        ("Squeeze", ["outputs", "direction"], ["squeezed"], {}),  # [T, 1, B, H] -> [T, B, H]
        ("MatMul", ["squeezed", "weight"], ["products"], {}),
        ("Add", ["products", "bias"], ["y"], {}),
    ]
    return _onnx.model_bytes(nodes, constants, tokens, ("y", np.float32))


def quantized(float_model: bytes, *, per_channel: bool) -> bytes:
    """Return a float model with its LSTM and its matrix product in dynamic int8.

    Args:
        float_model: serialized ONNX.
        per_channel: whether each column of a weight has a scale of its own.
    """
    tool: Any = importlib.import_module("onnxruntime.quantization")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # advice about preprocessing goes to the root logger
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
            source.write_bytes(float_model)
            kinds = ["LSTM", "MatMul"]
            tool.quantize_dynamic(
                source,
                target,
                op_types_to_quantize=kinds,
                per_channel=per_channel,
                weight_type=tool.QuantType.QInt8,
            )
            return target.read_bytes()
    finally:
        logging.disable(before)


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().numpy()
    return array


def _gates(parameter: Tensor) -> NDArray[np.float32]:
    """Return a parameter of four gates in ONNX's order."""
    parts = _array(parameter)
    return parts.reshape(4, -1, *parts.shape[1:])[_GATES].reshape(parts.shape)
