"""ONNX Runtime as a peer: sessions with all optimizations, over graphs built here.

`onnx` and `onnxruntime` are the `bench` extra; without them their peers are missing, with the reason as a note.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._case import Peer
from ._variants import fastest

Call = Callable[[], object]
Array = NDArray[Any]
Node = tuple[str, Sequence[str], Sequence[str], dict[str, Any]]

_OPSET = 17
_IR_VERSION = 9
_MICROSOFT = "com.microsoft"


def peer(name: str, build: Callable[[], Mapping[str, Call]]) -> Peer:
    """Return the fastest of the variants that `build` makes, or a missing peer.

    Args:
        name: of the peer.
        build: makes the variants; called only where ONNX Runtime is installed.
    """
    try:
        importlib.import_module("onnx")
        importlib.import_module("onnxruntime")
    except ImportError as error:
        return Peer(name, None, f"not installed: pip install featherbit[bench] ({error})")
    return fastest(name, build())


def session_call(
    nodes: Sequence[Node], constants: Mapping[str, Array], x: Array, output: tuple[str, type[np.generic]], threads: int
) -> Call:
    """Return a call that runs a graph of one input, `x`, in ONNX Runtime.

    Args:
        nodes: (operator, inputs, outputs, attributes) in order; `QGemm` is ONNX Runtime's own, the rest are ONNX's.
        constants: weights by name.
        x: what the input `"x"` is, in every call.
        output: name and dtype of the result.
        threads: within an operator; between operators there is one.
    """
    return run_model(model_bytes(nodes, constants, x, output), x, threads)


def run_model(model: bytes, x: Array, threads: int) -> Call:
    """Return a call that runs a serialized model of one input, `x`, in ONNX Runtime.

    Args:
        model: serialized ONNX.
        x: what the input `"x"` is, in every call.
        threads: within an operator; between operators there is one.
    """
    ort: ModuleType = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {"x": x}
    return lambda: session.run(None, feed)[0]


def model_bytes(
    nodes: Sequence[Node], constants: Mapping[str, Array], x: Array, output: tuple[str, type[np.generic]]
) -> bytes:
    """Return a graph of one input, `x`, as a serialized ONNX model.

    Args:
        nodes: as for `session_call`.
        constants: weights by name.
        x: an example of the input; its shape is the model's.
        output: name and dtype of the result.
    """
    helper: Any = importlib.import_module("onnx.helper")
    numpy_helper: Any = importlib.import_module("onnx.numpy_helper")

    def value(name: str, dtype: Any, shape: Sequence[int] | None) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    made = [
        helper.make_node(op, inputs, outputs, domain=_MICROSOFT if op == "QGemm" else "", **attributes)
        for op, inputs, outputs, attributes in nodes
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(
        made, "peer", [value("x", x.dtype, x.shape)], [value(output[0], output[1], None)], initializers
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    serialized: bytes = model.SerializeToString()
    return serialized
