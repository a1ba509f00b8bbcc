"""Small graphs with a memory, for tests of the interpreter, the file and the runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherbit.bits import pack_unsigned, pack_weight
from featherbit.ir import (
    AddReal,
    Affine,
    Embedding,
    Graph,
    Input,
    Linear,
    LookUp,
    MulReal,
    Op,
    QuantizeLinear,
    State,
)


def codes_of(rows: NDArray[Any], bits: int) -> NDArray[np.uint64]:
    """Return unsigned codes `[tokens, E]` as an `Embedding` has them."""
    planes = pack_unsigned(rows, bits)  # [tokens, bits, W]
    return np.ascontiguousarray(planes.transpose(1, 0, 2)).reshape(-1, planes.shape[-1])


def table(rng: np.random.Generator, entries: int = 64) -> NDArray[np.float32]:
    """Return entries between -1 and 1, in float32."""
    return np.sort(rng.uniform(-1, 1, entries)).astype(np.float32)


def _product(rng: np.random.Generator, source: str, output: str, k: int, n: int, bits: int, zero: int) -> list[Op]:
    weight = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (n, k))
    planes = pack_weight(weight, bits, "twos_complement")
    scale = np.full(n, 0.03, dtype=np.float32)
    linear = Linear(
        (source,), f"{output}:sum", "", weight=planes, in_features=k, zero_point=zero, weight_bits=bits,
        weight_encoding="twos_complement",
    )  # fmt: skip
    addend = rng.normal(0, 0.1, n).astype(np.float32)
    return [linear, Affine((f"{output}:sum",), output, "", multiplier=scale, addend=addend, fused=False)]


def gated_graph(
    seed: int = 0, *, tokens: int = 11, features: int = 7, hidden: int = 9, classes: int = 5, bits: int = 4
) -> Graph:
    """Return one step of a network of two states: an embedding, two gates of products, scores after them."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2**bits, (tokens, features))
    zero, step = 2 ** (bits - 1), 2.0 ** (1 - bits)
    ops: list[Op] = [
        Input((), "x", shape=(1,), dtype="int32"),
        State((), "h", shape=(hidden,), next="h2"),
        State((), "c", shape=(hidden,), next="c2"),
        Embedding(("x",), "e", features=features, bits=bits, sign=False, codes=codes_of(rows, bits)),
        QuantizeLinear(("h",), "hq", bits=bits, step=step, low=-zero),
    ]
    for gate in ("f", "g"):
        ops += _product(rng, "e", f"{gate}:x", features, hidden, bits, zero)
        ops += _product(rng, "hq", f"{gate}:h", hidden, hidden, bits, zero)
        ops += [
            AddReal((f"{gate}:x", f"{gate}:h"), f"{gate}:sum"),
            LookUp((f"{gate}:sum",), gate, step=1 / 16, table=table(rng)),
        ]
    ops += [
        MulReal(("f", "c"), "fc"),
        AddReal(("fc", "g"), "c2"),
        LookUp(("c2",), "t", step=1 / 8, table=table(rng)),
        MulReal(("t", "f"), "h2"),
        QuantizeLinear(("h2",), "out:codes", bits=bits, step=step, low=-zero),
        *_product(rng, "out:codes", "y", hidden, classes, bits, zero),
    ]
    return Graph(tuple(ops), "y")


def token_batch(graph: Graph, steps: int, batch: int, seed: int = 0) -> NDArray[np.int32]:
    """Return tokens `[T, B, 1]`."""
    tokens = next(op.tokens for op in graph.ops if isinstance(op, Embedding))
    return np.random.default_rng(seed).integers(0, tokens, (steps, batch, 1)).astype(np.int32)
