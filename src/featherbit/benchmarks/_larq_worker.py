"""The other end of `_larq.py`: runs in larq compute engine's own environment, where featherbit is not installed.

A program, not a module of the package: it reads one JSON request a line and answers each with one line.

* `{"command": "build", "blueprint": ..., "batch": 1, "threads": 1}` -> `{"default": "note", "fastest": "note"}`
* `{"command": "time", "which": "default" | "fastest", "count": 10}` -> `{"seconds": 0.123}` of all calls together
* anything that fails -> `{"error": "..."}`

The network is larq's own best form of the blueprint: batch norm right behind the convolution, so that it is fused;
padding with +1, which needs no correction; fully connected layers as convolutions, the only binary product there is;
in a residual network ReLU, batch norm and then the shortcut, as in larq's QuickNet.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], object]
DEFAULT = "no options"
INTERPRETERS: dict[str, dict[str, bool]] = {
    DEFAULT: {},
    "indirect": {"use_indirect_bgemm": True},
    "XNNPACK": {"use_xnnpack": True},
    "indirect, XNNPACK": {"use_indirect_bgemm": True, "use_xnnpack": True},
}
ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",  # larq is written for Keras 2
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}


class Worker:
    """Holds the converted network between requests."""

    def __init__(self) -> None:
        self.runs: dict[str, Call] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request."""
        if request["command"] == "build":
            return self.build(request["blueprint"], request["batch"], request["threads"])
        if request["command"] == "time" and request["which"] in self.runs:
            return {"seconds": seconds(self.runs[request["which"]], request["count"])}
        raise ValueError(f"cannot answer {request} now")

    def build(self, blueprint: dict[str, Any], batch: int, threads: int) -> dict[str, Any]:
        """Convert the network; keep the interpreter as it comes and the fastest."""
        engine = importlib.import_module("larq_compute_engine")
        numpy = importlib.import_module("numpy")
        converted = engine.convert_keras_model(Network(blueprint, batch).model())
        x = numpy.random.default_rng(0).standard_normal((batch, *blueprint["image"])).astype(numpy.float32)

        def run_with(options: dict[str, bool]) -> Call:
            native = engine.testing.Interpreter(converted, num_threads=threads, **options).interpreter
            return lambda: native.predict([x])

        runs = {name: run_with(options) for name, options in INTERPRETERS.items()}
        times = {name: (seconds(run, 1), seconds(run, 2))[1] for name, run in runs.items()}
        best = min(times, key=lambda name: times[name])
        self.runs = {"default": runs[DEFAULT], "fastest": runs[best]}
        about = f"{importlib.metadata.version('larq-compute-engine')}, {len(converted) / 1e6:.2f} MB"
        return {"default": f"{about}, {DEFAULT}", "fastest": f"{about}, {best}"}


def seconds(run: Call, count: int) -> float:
    """Return how long so many calls take."""
    start = time.perf_counter()
    for _ in range(count):
        run()
    return time.perf_counter() - start


class Network:
    """A Keras network under construction; `x` is its last tensor.

    Args:
        blueprint: as `Blueprint.as_json` gives it.
        batch: images in a call.
    """

    def __init__(self, blueprint: dict[str, Any], batch: int) -> None:
        keras = importlib.import_module("tensorflow").keras
        self.layers, self.make_model = keras.layers, keras.Model
        self.binary_conv = importlib.import_module("larq").layers.QuantConv2D
        self.blueprint = blueprint
        self.residual = any(layer["kind"] == "Stem" for layer in blueprint["layers"])
        self.pixels = bool(blueprint["raw"])  # the next layer reads them: only its weights are binary
        self.x = self.source = self.layers.Input(shape=blueprint["image"], batch_size=batch)

    def model(self) -> Any:
        """Return the whole network."""
        for layer in self.blueprint["layers"]:
            getattr(self, f"add_{layer['kind'].lower()}")(layer)
            self.pixels = False
        return self.make_model(self.source, self.x)

    def add_conv(self, layer: dict[str, Any]) -> None:
        """Put a layer of a chain."""
        self.binary(layer["channels"], layer["kernel"])
        if layer["pool"] > 1:
            self.x = self.layers.MaxPool2D(layer["pool"])(self.x)

    def add_stem(self, layer: dict[str, Any]) -> None:
        """Put the first layer of a residual network."""
        self.real(layer["channels"], layer["kernel"], layer["stride"])
        self.x = self.layers.MaxPool2D(3, 2, padding="same")(self.x)

    def add_block(self, layer: dict[str, Any]) -> None:
        """Put two binary convolutions, a shortcut around each."""
        for stride in (layer["stride"], 1):
            source = self.x
            if stride > 1:
                self.x = self.layers.AveragePooling2D(stride)(source)
                self.real(layer["channels"], 1, 1)
            shortcut, self.x = self.x, source
            self.binary(layer["channels"], 3, strides=stride, activation="relu")
            self.x = self.layers.Add()([self.x, shortcut])

    def add_mean(self, layer: dict[str, Any]) -> None:
        """Put the mean over height and width."""
        self.x = self.layers.GlobalAveragePooling2D()(self.x)

    def add_dense(self, layer: dict[str, Any]) -> None:
        """Put a fully connected layer.

        It is float in a residual network, else a convolution of everything there is.
        """
        if self.residual:
            self.x = self.layers.Dense(layer["features"])(self.x)
        else:
            self.binary(layer["features"], self.x.shape[1:3], padding="valid")

    def binary(self, channels: int, kernel: Any, padding: str = "same", **options: Any) -> None:
        """Put a convolution with binary weights, and batch norm."""
        if not self.pixels:
            options["input_quantizer"] = "ste_sign"
            if padding == "same":
                options["pad_values"] = 1.0
        signs = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
        self.x = self.binary_conv(channels, kernel, padding=padding, use_bias=False, **signs, **options)(self.x)
        self.x = self.layers.BatchNormalization()(self.x)

    def real(self, channels: int, kernel: int, stride: int) -> None:
        """Put a float convolution, and batch norm."""
        self.x = self.layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(self.x)
        self.x = self.layers.BatchNormalization()(self.x)


def main() -> None:
    """Answer requests until the input ends.

    What the libraries print goes to standard error.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    os.environ.update(ENVIRONMENT)
    worker = Worker()
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:  # told to the other end, whatever it is
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
