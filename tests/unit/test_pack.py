"""Packing: which models it takes, that it leaves them as they are, and that `verify` finds what was changed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherbit.bits import pack_sign, pack_weight
from featherbit.errors import PackError
from featherbit.ir import Affine, Flatten, Graph, Input, Linear, Op, PackSign, QuantizeLinear, Threshold, load, save
from featherbit.layers import FixedPointInput, QuantLinear
from featherbit.models import Mlp
from featherbit.pack import pack, verify
from featherbit.quantizers import Sign
from featherbit.runtime import Session
from oracles_ir import assert_same_floats

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 3, 5), dtype=np.uint8))
REALS = torch.from_numpy(np.random.default_rng(1).normal(size=(30, 15)).astype(np.float32))


class Written(nn.Module):
    """A model whose forward is a function, with some layers."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def product(k: int = 15, n: int = 4, **options: Any) -> QuantLinear:
    return QuantLinear(k, n, **{"bias": False, **options})


def norm(n: int) -> nn.BatchNorm1d:
    layer = nn.BatchNorm1d(n)
    assert layer.running_mean is not None
    layer.running_mean.normal_()
    layer.weight.data.normal_()
    layer.bias.data.normal_()
    return layer


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def mlp() -> Mlp:
    model = Mlp(15, 17, 2, 3, input_dropout=0.2, hidden_dropout=0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.load_state_dict(norm(module.num_features).state_dict())
    return model


def kinds(graph: Graph) -> list[type[Op]]:
    return [type(op) for op in graph.ops]


def assert_packs_exactly(model: nn.Module, x: Tensor, expected_kinds: list[type[Op]] | None = None) -> Graph:
    graph = pack(model, x)
    with torch.no_grad():
        expected = copy.deepcopy(model).eval()(x).numpy()
    got = Session(graph).run(x.numpy())
    assert np.array_equal(got, expected)
    assert expected_kinds is None or kinds(graph) == expected_kinds
    return graph


def test_an_mlp_becomes_products_thresholds_and_one_scaling(mlp: Mlp) -> None:
    layer = [Linear, Threshold]
    graph = assert_packs_exactly(mlp, PIXELS, [Input, Flatten, *layer, *layer, Linear, Affine])
    assert [op.path for op in graph.ops[2:]] == ["linear1", "sign1", "linear2", "sign2", "linear3", "norm3"]
    first = graph.op_of("linear1")
    assert isinstance(first, Linear)
    assert (first.in_features, first.zero_point) == (15, 128)
    assert np.array_equal(first.weight, pack_sign(mlp.linear1.weight.detach().numpy()))  # type: ignore[operator, union-attr]


def test_a_float_input_is_quantized_first(mlp: Mlp) -> None:
    graph = assert_packs_exactly(mlp, REALS.reshape(30, 3, 5))
    assert QuantizeLinear in kinds(graph)
    assert graph.input.dtype == "float32"


def test_packing_leaves_the_model_as_it_is(mlp: Mlp) -> None:
    mlp.train()
    mlp.norm1.eval()  # type: ignore[union-attr]
    state = {name: tensor.clone() for name, tensor in mlp.state_dict().items()}
    modes = {name: module.training for name, module in mlp.named_modules()}
    needs = {name: parameter.requires_grad for name, parameter in mlp.named_parameters()}
    before = torch.get_rng_state()
    graph = pack(mlp, PIXELS)
    verify(mlp, graph, PIXELS)
    assert {name: module.training for name, module in mlp.named_modules()} == modes
    assert {name: parameter.requires_grad for name, parameter in mlp.named_parameters()} == needs
    assert all(torch.equal(tensor, state[name]) for name, tensor in mlp.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_the_same_model_packs_to_the_same_graph_whatever_the_example(mlp: Mlp) -> None:
    one = pack(mlp, PIXELS, verify=False)
    assert one == pack(mlp, PIXELS[:1].numpy(), verify=False) == pack(mlp, PIXELS[3:9])


def test_a_saved_graph_runs_as_the_packed_one(mlp: Mlp, tmp_path: Path) -> None:
    graph = pack(mlp, PIXELS)
    save(graph, tmp_path / "net.fbit")
    loaded = load(tmp_path / "net.fbit")
    assert loaded == graph
    x = PIXELS.numpy()
    assert_same_floats(Session(tmp_path / "net.fbit").run(x), Session(graph).run(x))
    assert all(row.mismatches == 0 for row in verify(mlp, loaded, PIXELS))


_TAKEN: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "a bias": (lambda: nn.Sequential(FixedPointInput(), nn.Flatten(), biased(), norm(4), Sign(), biased(4)), PIXELS),
    "no batch norm at all": (
        lambda: nn.Sequential(FixedPointInput(), nn.Flatten(), product(), Sign(), biased(4)),
        PIXELS,
    ),
    "a product at the end": (lambda: nn.Sequential(FixedPointInput(), nn.Flatten(), product()), PIXELS),
    "a sign at the end": (lambda: nn.Sequential(FixedPointInput(), nn.Flatten(), product(), norm(4), Sign()), PIXELS),
    "signs of the input": (lambda: nn.Sequential(product(input_quantizer=Sign()), norm(4)), REALS),
    "signs of signs": (lambda: nn.Sequential(Sign(), Sign(), product(), Sign(), Sign(), product(4, 2)), REALS),
    "a hard tanh": (lambda: nn.Sequential(Sign(), product(), norm(4), nn.Hardtanh(), Sign(), product(4, 2)), REALS),
    "a relu before a sign": (lambda: nn.Sequential(Sign(), product(), norm(4), nn.ReLU(), Sign()), REALS),
    "two batch norms": (lambda: nn.Sequential(Sign(), product(), norm(4), norm(4), Sign(), product(4, 2)), REALS),
    "a view": (
        lambda: Written(lambda m, x: m.b(m.s(m.n(m.a(m.i(x).view(x.size(0), -1))))), **parts()),
        PIXELS,
    ),
    "a reshape": (lambda: Written(lambda m, x: m.b(m.s(m.n(m.a(m.i(x.reshape(-1, 15)))))), **parts()), PIXELS),
    "a negated product": (lambda: Written(lambda m, x: m.s(-m.a(m.i(x).flatten(1)) + 0.5), **parts()), PIXELS),
    "a layer used twice": (lambda: Written(lambda m, x: m.q(m.s(m.q(m.s(x)))), q=product(15, 15), s=Sign()), REALS),
    "stock binary weights": (lambda: nn.Sequential(Sign(), binary_linear(bias=False), norm(4)), REALS),
    "pixels mapped by hand": (
        lambda: Written(lambda m, x: m.a((x.flatten(1).float() - 100) / 64), a=product()),
        PIXELS,
    ),
}


def biased(k: int = 15, n: int = 4) -> QuantLinear:
    layer = product(k, n, bias=True)
    layer.bias.data.uniform_(-3, 3)
    return layer


def parts() -> dict[str, nn.Module]:
    return {"i": FixedPointInput(), "a": product(), "n": norm(4), "s": Sign(), "b": product(4, 2)}


def binary_linear(bias: bool) -> nn.Linear:
    layer = nn.Linear(15, 4, bias=bias)
    layer.weight.data.sign_()
    return layer


@pytest.mark.parametrize("what", _TAKEN)
def test_a_model_with_this_is_packed_exactly(what: str) -> None:
    make, x = _TAKEN[what]
    assert_packs_exactly(make(), x)


def test_a_sign_at_the_end_gives_the_bits_themselves() -> None:
    graph = assert_packs_exactly(
        nn.Sequential(nn.Flatten(), Sign()), REALS.reshape(30, 3, 5), [Input, PackSign, Flatten]
    )
    assert Session(graph).run(REALS.reshape(30, 3, 5).numpy()).dtype == np.int8


def test_a_float_input_may_be_flattened_before_it_is_quantized() -> None:
    model = nn.Sequential(nn.Flatten(), FixedPointInput(), product(), norm(4))
    assert_packs_exactly(model, REALS.reshape(30, 3, 5), [Input, QuantizeLinear, Flatten, Linear, Affine])


def test_verify_names_the_value_whose_weight_was_changed(mlp: Mlp) -> None:
    graph = pack(mlp, PIXELS)
    changed = graph.op_of("linear2")
    assert isinstance(changed, Linear)
    weight = changed.weight.copy()
    weight[5, 0] ^= np.uint64(1 << 16)  # the last of 17 inputs
    rows = {row.value: row for row in verify(mlp, with_op(graph, changed, weight=weight), PIXELS)}
    assert rows["linear1"].mismatches == rows["sign1"].mismatches == 0
    assert rows["linear2"].mismatches == 30  # one channel, every input
    assert (rows["linear2"].path, rows["linear2"].compared) == ("linear2", 30 * 17)


def test_verify_names_the_value_whose_threshold_was_changed(mlp: Mlp) -> None:
    graph = pack(mlp, PIXELS)
    changed = graph.op_of("sign1")
    assert isinstance(changed, Threshold)
    sums = Session(graph).trace(PIXELS.numpy())["linear1"][:, 3]
    thresholds = changed.thresholds.copy()
    between = np.sort(sums)[15]
    thresholds[3] = between + 1 if thresholds[3] <= between else between
    rows = {row.value: row for row in verify(mlp, with_op(graph, changed, thresholds=thresholds), PIXELS)}
    assert rows["linear1"].mismatches == 0
    assert 0 < rows["sign1"].mismatches <= 30


def test_verify_sees_one_bit_of_the_output_scaling(mlp: Mlp) -> None:
    graph = pack(mlp, PIXELS)
    changed = graph.op_of(graph.output)
    assert isinstance(changed, Affine)
    addend = changed.addend.copy()
    addend[1] = addend[1] + 1
    rows = verify(mlp, with_op(graph, changed, addend=addend), PIXELS)
    assert [row.mismatches > 0 for row in rows] == [False] * (len(rows) - 1) + [True]


def with_op(graph: Graph, op: Op, **arrays: Any) -> Graph:
    """Return the graph with other arrays in one op."""
    return Graph(tuple(dataclasses.replace(o, **arrays) if o is op else o for o in graph.ops), graph.output)


def test_verify_refuses_a_graph_of_another_model(mlp: Mlp) -> None:
    other = pack(nn.Sequential(FixedPointInput(), nn.Flatten(), product()), PIXELS)
    with pytest.raises(PackError, match="not packed from this model"):
        verify(mlp, other, PIXELS)


def test_a_packed_model_that_differs_is_refused(mlp: Mlp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featherbit.pack._weights.pack_weight", lambda x, *kind: pack_weight(-x, *kind))
    with pytest.raises(PackError, match="values differ from the model") as caught:
        pack(mlp, PIXELS)
    assert caught.value.path == "linear1"
