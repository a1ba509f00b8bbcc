"""The recurrent layers: equal to torch's where nothing is quantized, else to products one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from featherbit.errors import InputError
from featherbit.layers import QuantLSTM, QuantLSTMCell, QuantRNN, Tabulated, look_up
from featherbit.quantizers import GradientQuant, Identity, LinearQuant, Lsq, Sign


def _as_torch(layer: Any, **more: Any) -> nn.Module:
    """Return torch's own layer with the weights of one that quantizes nothing."""
    first = layer.cells[0]
    kind = nn.LSTM if isinstance(layer, QuantLSTM) else nn.RNN
    settings = {"num_layers": len(layer.cells), "batch_first": layer.batch_first, **more}
    twin = kind(first.input_product.in_features, first.hidden_size, **settings)
    with torch.no_grad():
        for i, cell in enumerate(layer.cells):
            getattr(twin, f"weight_ih_l{i}").copy_(cell.input_product.weight)
            getattr(twin, f"weight_hh_l{i}").copy_(cell.hidden_product.weight)
            getattr(twin, f"bias_ih_l{i}").copy_(cell.input_product.bias)
            getattr(twin, f"bias_hh_l{i}").zero_()
    return twin


def _float_layer(kind: str, **settings: Any) -> tuple[Any, nn.Module]:
    torch.manual_seed(0)
    if kind == "lstm":
        layer: Any = QuantLSTM(5, 7, weight_quantizer=Identity(), **settings)
        return layer, _as_torch(layer)
    layer = QuantRNN(5, 7, nonlinearity=kind, weight_quantizer=Identity(), **settings)  # type: ignore[arg-type]
    return layer, _as_torch(layer, nonlinearity=kind)


def _close(a: Any, b: Any) -> None:
    if isinstance(a, tuple):
        for x, y in zip(a, b, strict=True):
            _close(x, y)
    else:
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["lstm", "tanh", "relu"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_float_layer_computes_what_torchs_does(kind: str, batch_first: bool) -> None:
    layer, twin = _float_layer(kind, num_layers=3, batch_first=batch_first)
    x = torch.randn(4, 6, 5)
    out, state = layer(x)
    expected, expected_state = twin(x)
    _close(out, expected)
    _close(state, expected_state)
    _close(layer(x, state)[0], twin(x, expected_state)[0])  # a given state


@pytest.mark.parametrize("kind", ["lstm", "tanh", "relu"])
def test_gradients_of_a_float_layer_are_torchs(kind: str) -> None:
    layer, twin = _float_layer(kind, num_layers=2)
    x = torch.randn(4, 6, 5, requires_grad=True)
    layer(x)[0].square().sum().backward()
    got, x.grad = x.grad, None
    twin(x)[0].square().sum().backward()
    _close(got, x.grad)
    _close(layer.cells[1].hidden_product.weight.grad, twin.weight_hh_l1.grad)
    _close(layer.cells[0].input_product.bias.grad, twin.bias_ih_l0.grad)


@pytest.mark.parametrize("kind", ["lstm", "tanh"])
@pytest.mark.parametrize("sorted_lengths", [False, True])
def test_packed_sequences_are_torchs(kind: str, sorted_lengths: bool) -> None:
    layer, twin = _float_layer(kind, num_layers=2)
    lengths = torch.tensor([6, 4, 4, 1] if sorted_lengths else [4, 1, 6, 4])
    x = torch.randn(6, 4, 5)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=sorted_lengths)
    state = torch.randn(2, 4, 7)
    given: Any = (state, state * 2) if kind == "lstm" else state
    for hx in (None, given):
        out, last = layer(packed, hx)
        expected, expected_last = twin(packed, hx)
        _close(pad_packed_sequence(out)[0], pad_packed_sequence(expected)[0])
        _close(last, expected_last)


@pytest.mark.parametrize("kind", ["lstm", "relu"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_may_come_without_a_batch(kind: str, batch_first: bool) -> None:
    layer, twin = _float_layer(kind, batch_first=batch_first)
    x = torch.randn(6, 5)
    out, state = layer(x)
    expected, expected_state = twin(x)
    _close(out, expected)
    _close(state, expected_state)
    _close(layer(x, state)[0], twin(x, expected_state)[0])


def test_dropout_stands_between_layers_and_only_in_training() -> None:
    layer, _ = _float_layer("lstm", num_layers=2, dropout=0.9)
    one, _ = _float_layer("lstm", num_layers=1, dropout=0.9)
    x = torch.randn(3, 2, 5)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    assert torch.equal(one(x)[0], one(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_a_quantized_step_is_the_gates_of_quantized_products() -> None:
    torch.manual_seed(1)
    q = LinearQuant(3)
    cell = QuantLSTMCell(5, 4, input_quantizer=q, hidden_quantizer=Sign(), weight_quantizer=LinearQuant(4)).eval()
    x, h, c = torch.randn(2, 5), torch.randn(2, 4), torch.randn(2, 4)
    with torch.no_grad():
        got_h, got_c = cell(x, (h, c))
        w, u = (LinearQuant(4)(product.weight).double() for product in (cell.input_product, cell.hidden_product))
        total = q(x).double() @ w.T + cell.input_product.bias + Sign()(h).double() @ u.T
    table = {
        name: lambda v, f=f: f((v * 64).round().clamp(-512, 511) / 64)
        for name, f in (("s", torch.sigmoid), ("t", torch.tanh))
    }
    i, f, g, o = total.chunk(4, dim=1)
    next_c = table["s"](f) * c + table["s"](i) * table["t"](g)
    torch.testing.assert_close(got_c.double(), next_c, rtol=0, atol=2e-4)
    next_h = table["s"](o) * table["t"](got_c.double())
    torch.testing.assert_close(got_h.double(), next_h, rtol=0, atol=2e-4)


def test_steps_one_by_one_are_the_whole_sequence_to_the_bit() -> None:
    torch.manual_seed(2)
    quantizers: Any = {
        "input_quantizer": LinearQuant(4),
        "hidden_quantizer": Lsq(4),
        "weight_quantizer": Lsq(4),
    }
    layer = QuantLSTM(6, 9, num_layers=2, **quantizers).eval()
    x = torch.randn(7, 3, 6)
    with torch.no_grad():
        out, last = layer(x)
        state = None
        for t in range(7):
            step, state = layer(x[t : t + 1], state)
            assert torch.equal(step[0], out[t])
    assert state is not None
    assert torch.equal(state[0], last[0])
    assert torch.equal(state[1], last[1])


@pytest.mark.parametrize("weight", [Lsq(4), Lsq(4, channels=36), LinearQuant(3), Sign()])
def test_a_single_step_gate_by_gate_is_that_of_a_sequence_to_the_bit(weight: nn.Module) -> None:
    torch.manual_seed(4)
    layer = QuantLSTM(6, 9, num_layers=2, input_quantizer=Lsq(3), hidden_quantizer=Sign(), weight_quantizer=weight)
    layer.eval()
    assert layer.state_sizes == (9, 9, 9, 9)
    x = torch.randn(5, 3, 6)
    state: tuple[torch.Tensor, ...] = tuple(torch.zeros(3, 9) for _ in range(4))
    with torch.no_grad():
        out, (h, c) = layer(x)
        for t in range(5):
            step, state = layer.step(x[t], state)
            assert torch.equal(step, out[t])
    assert torch.equal(torch.stack([state[0], state[2]]), h)
    assert torch.equal(torch.stack([state[1], state[3]]), c)


def test_every_matrix_has_quantizers_of_its_own() -> None:
    layer = QuantLSTM(3, 3, num_layers=2, weight_quantizer=Lsq(4), input_quantizer=Lsq(3), hidden_quantizer=Lsq(3))
    steps = [p for name, p in layer.named_parameters() if name.endswith("step")]
    assert len(steps) == len({id(p) for p in steps}) == 8


def test_gradients_are_quantized_in_every_step() -> None:
    torch.manual_seed(3)
    seen: list[int] = []

    class Counting(GradientQuant):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return super().forward(x)

        def __deepcopy__(self, memo: Any) -> Counting:
            return self

    layer = QuantLSTM(3, 3, gradient_quantizer=Counting())
    layer(torch.randn(4, 2, 3))[0].sum().backward()
    assert sorted(seen) == [2, 2, 2, 2, 8]  # each step's hidden product, and that of all inputs


@pytest.mark.parametrize("function", ["sigmoid", "tanh"])
def test_a_table_is_within_half_a_step_of_the_function(function: Any) -> None:
    gate = Tabulated(function)
    x = torch.linspace(-12, 12, 10_001)
    exact = torch.sigmoid(x) if function == "sigmoid" else torch.tanh(x)
    assert torch.equal(gate(x), exact)  # in training
    gate.eval()
    slope = 0.25 if function == "sigmoid" else 1.0
    assert (gate(x) - exact).abs().max() <= slope * gate.step / 2 + 2**-11
    assert torch.equal(gate.table * 2**15, (gate.table * 2**15).round())


def test_the_gradient_of_a_table_is_its_slope() -> None:
    gate = Tabulated("tanh").eval()
    x = torch.linspace(-3, 3, 101, dtype=torch.float32, requires_grad=True)
    gate(x).sum().backward()
    assert x.grad is not None
    assert (x.grad - (1 - torch.tanh(x.detach()) ** 2)).abs().max() < 0.02


def test_a_table_rounds_to_even_and_ends_where_it_ends() -> None:
    table = torch.tensor([10.0, 20.0, 30.0, 40.0])
    x = torch.tensor([-1e30, -0.75, -0.25, 0.25, 0.75, 1e30, float("nan"), float("inf"), float("-inf")])
    assert look_up(x, table, 0.5).tolist() == [10.0, 10.0, 30.0, 30.0, 40.0, 40.0, 10.0, 40.0, 10.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantLSTM(3, 2, num_layers=0), "num_layers must be at least 1"),
        (lambda: QuantLSTM(3, 2, dropout=1.0), "dropout must be at least 0 and below 1"),
        (lambda: QuantRNN(3, 2, nonlinearity="sine"), "nonlinearity must be 'tanh' or 'relu'"),  # type: ignore[arg-type]
        (lambda: QuantLSTM(3, 2)(torch.zeros(0, 2, 3)), "at least one step"),
        (lambda: QuantLSTM(3, 2)(torch.zeros(1, 2, 3, 4)), "at least one step"),
        (lambda: QuantLSTM(3, 2)(torch.zeros(4, 2, 3), torch.zeros(1, 2, 2)), "the state must be 2 of shape"),
        (lambda: QuantRNN(3, 2)(torch.zeros(4, 2, 3), torch.zeros(1, 3, 2)), "the state must be 1 of shape"),
        (lambda: Tabulated("cosine"), "function must be 'sigmoid' or 'tanh'"),  # type: ignore[arg-type]
        (lambda: Tabulated("tanh", bits=3), "a table has 4 to 12 bits"),
        (lambda: Tabulated("tanh", limit=3.0), "limit must be a power of two"),
    ],
)
def test_impossible_arguments_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_an_empty_batch_gives_an_empty_output() -> None:
    out, (h, c) = QuantLSTM(3, 2)(torch.zeros(4, 0, 3))
    assert out.shape == (4, 0, 2)
    assert h.shape == c.shape == (1, 0, 2)
