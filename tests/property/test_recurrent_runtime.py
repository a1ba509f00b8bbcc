"""Networks with a memory: native, reference and torch agree to the bit, step by step and as sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from featherbit import ir, pack
from featherbit.ir import AddReal, Flatten, Graph, Input, MulReal, State, reference
from featherbit.kernels import available_isas
from featherbit.layers import QuantLinear, QuantLSTM, QuantRNN
from featherbit.quantizers import DorefaActivation, DorefaWeight, FittedQuant, LinearQuant, Lsq, Sign
from featherbit.runtime import Session
from recurrent_graphs import gated_graph, token_batch


def _by_reference(graph: Graph, x: NDArray[Any]) -> tuple[NDArray[Any], dict[str, NDArray[np.float32]]]:
    """Run sequences `[T, B, ...]` in the reference interpreter."""
    state = reference.zero_states(graph, x.shape[1])
    outputs = []
    for step in x:
        values = reference.run(graph, step, state)
        outputs.append(values[graph.output])
        state = {op.output: values[op.next] for op in graph.states}
    return np.stack(outputs), state


def _check(graph: Graph, x: NDArray[Any]) -> None:
    """Compare sequences and every value of every step, for every ISA and several threads."""
    expected, last = _by_reference(graph, x)
    for isa in available_isas():
        for threads in (1, 2, 3):
            session = Session(graph, isa=isa, threads=threads)
            output, state = session.run_sequence(x)
            assert np.array_equal(output, expected)
            assert all(np.array_equal(state[name], last[name]) for name in last)
            stepwise: Any = None
            for t, step in enumerate(x):
                wanted = reference.run(graph, step, stepwise)
                got = session.trace(step, stepwise)
                assert got.keys() == wanted.keys()
                assert all(np.array_equal(got[name], wanted[name]) for name in wanted)
                one, stepwise = session.step(step, stepwise)
                assert np.array_equal(one, expected[t])


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_a_graph_of_gates_is_the_reference_on_every_isa(data: st.DataObject) -> None:
    graph = gated_graph(
        data.draw(st.integers(0, 1000)),
        features=data.draw(st.integers(1, 70)),
        hidden=data.draw(st.integers(1, 70)),
        classes=data.draw(st.integers(1, 40)),
        bits=data.draw(st.integers(2, 8)),
    )
    _check(graph, token_batch(graph, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)])
def test_no_steps_and_no_sequences_leave_the_state(shape: tuple[int, int]) -> None:
    graph = gated_graph()
    session = Session(graph)
    state = {name: rows + 0.5 for name, rows in reference.zero_states(graph, shape[1]).items()}
    output, after = session.run_sequence(token_batch(graph, *shape), state)
    assert output.shape == (*shape, 5)
    assert all(np.array_equal(after[name], state[name]) for name in state)


def test_many_sequences_of_many_steps_are_run_in_tiles() -> None:
    graph = gated_graph(3)
    x = token_batch(graph, 9, 333)
    expected, last = _by_reference(graph, x)
    for threads in (1, 2):
        output, state = Session(graph, threads=threads).run_sequence(x)
        assert np.array_equal(output, expected)
        assert all(np.array_equal(state[name], last[name]) for name in last)


@pytest.mark.parametrize("output", ["sum", "product", "late"])
@pytest.mark.parametrize("taken_over", ["sum", "product", "late", "again", "x"])
def test_a_value_may_be_output_and_state_at_once(output: str, taken_over: str) -> None:
    """What two states take over may be one value, the output, the input, or computed without any state."""
    graph = Graph(
        (
            Input((), "x", shape=(3,), dtype="float32"),
            State((), "s", shape=(3,), next="sum"),
            State((), "t", shape=(3,), next=taken_over),
            State((), "u", shape=(3,), next="late"),
            Flatten(("x",), "again"),
            AddReal(("again", "s"), "sum"),
            MulReal(("sum", "t"), "product"),
            AddReal(("product", "u"), "late"),
        ),
        output,
    )
    _check(graph, np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32))


class _Model(nn.Module):
    """An embedding, recurrent layers and scores, without dropout."""

    def __init__(self, layer: QuantLSTM | QuantRNN, tokens: int, source: nn.Module, weight: nn.Module) -> None:
        super().__init__()
        first: Any = layer.cells[0]
        self.embedding = nn.Embedding(tokens, first.input_product.in_features)
        self.recurrent = layer
        self.scores = QuantLinear(first.hidden_size, tokens, input_quantizer=source, weight_quantizer=weight)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return self.recurrent.state_sizes

    def step(self, tokens: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        hidden, state = self.recurrent.step(self.embedding(tokens), state)
        return self.scores(hidden), state

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scores(self.recurrent(self.embedding(tokens))[0])


_KINDS = ((LinearQuant, 4), (Lsq, 3), (LinearQuant, 8), (DorefaActivation, 2))
_WEIGHT_KINDS = ((Lsq, 4), (Lsq, 2), (LinearQuant, 3), (DorefaWeight, 4), (FittedQuant, 4))
WEIGHTS: tuple[Any, ...] = (Sign, *(lambda kind=kind, bits=bits: kind(bits) for kind, bits in _WEIGHT_KINDS))
SOURCES: tuple[Any, ...] = (
    lambda: LinearQuant(4),
    lambda: Lsq(3),
    Sign,
    lambda: LinearQuant(8),
    lambda: DorefaActivation(2),
)


@settings(max_examples=10, deadline=None, phases=[Phase.generate])
@given(st.data())
def test_a_packed_recurrent_model_is_what_torch_evaluates(data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    weight, source = data.draw(st.sampled_from(WEIGHTS)), data.draw(st.sampled_from(SOURCES))
    features, hidden, layers = (
        data.draw(st.integers(1, 40)),
        data.draw(st.integers(1, 40)),
        data.draw(st.integers(1, 2)),
    )
    quantizers = {"input_quantizer": source(), "hidden_quantizer": source(), "weight_quantizer": weight()}
    kind = data.draw(st.sampled_from(["lstm", "tanh", "relu"]))
    if kind == "lstm":
        layer: Any = QuantLSTM(features, hidden, layers, **quantizers)
    else:
        layer = QuantRNN(features, hidden, layers, kind, **quantizers)
    model = _Model(layer, 23, source(), weight()).eval()
    tokens = torch.randint(0, 23, (5, 3))
    graph = pack.pack(model, tokens)
    for isa in available_isas():
        assert all(row.mismatches == 0 for row in pack.verify(model, graph, tokens, isa=isa, threads=2))
    with torch.no_grad():
        expected = model(tokens).numpy()
    got, _ = Session(graph).run_sequence(tokens.numpy()[..., None])
    assert np.array_equal(got, expected)
    assert np.array_equal(_by_reference(graph, tokens.to(torch.int32).numpy()[..., None])[0], expected)


def test_a_layer_that_takes_real_numbers_is_packed_without_an_embedding() -> None:
    torch.manual_seed(0)
    layer = QuantLSTM(6, 5, input_quantizer=LinearQuant(4), hidden_quantizer=LinearQuant(4), weight_quantizer=Lsq(4))
    x = torch.randn(4, 2, 6)
    graph = pack.pack(layer.eval(), x)
    with torch.no_grad():
        expected, (h, c) = layer(x)
    got, state = Session(graph).run_sequence(x.numpy())
    assert np.array_equal(got, expected.numpy())
    assert np.array_equal(state["state0"], h[0].numpy())
    assert np.array_equal(state["state1"], c[0].numpy())
    assert ir.reference.zero_states(graph, 2).keys() == state.keys()
