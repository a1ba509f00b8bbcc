"""A packed network equals the trained one to the bit, for models of hostile sizes and parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherbit.errors import PackError
from featherbit.ir import Affine, reference
from featherbit.kernels import available_isas
from featherbit.models import Mlp
from featherbit.pack import pack, verify
from featherbit.quantizers import StochasticSign
from featherbit.runtime import Session
from oracles_ir import assert_same_floats

SHAPES = [  # image, hidden width, hidden layers, classes
    ((1,), 1, 1, 1),
    ((1, 1, 63), 2, 1, 2),
    ((8, 8), 64, 2, 10),
    ((5, 13), 65, 1, 10),
    ((64, 1), 17, 3, 1),
    ((1, 7, 9), 65, 2, 2),
]


def trained(model: nn.Module, seed: int) -> nn.Module:
    """Give every batch norm the parameters of a trained one: any sign, no channel like another."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.weight.data.normal_(generator=generator)
            module.bias.data.normal_(generator=generator)
            module.running_mean.normal_(0, 2, generator=generator)
            module.running_var.uniform_(0.1, 9, generator=generator)
    return model.eval()


def images(shape: tuple[int, ...], dtype: torch.dtype, seed: int, count: int = 41) -> Tensor:
    rng = np.random.default_rng(seed)
    if dtype == torch.uint8:
        return torch.from_numpy(rng.integers(0, 256, (count, *shape), dtype=np.uint8))
    numbers = rng.integers(-300, 300, (count, *shape)) / 256  # ties of the 8-bit rounding, and values it clips
    return torch.from_numpy(numbers.astype(np.float32))


def trained_scores(model: nn.Module, x: Tensor) -> np.ndarray:
    with torch.no_grad():
        scores: np.ndarray = model(x).numpy()
    return scores


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("shape", "hidden", "layers", "classes"), SHAPES)
def test_an_mlp_of_any_size_is_equal_at_every_batch_size(
    shape: tuple[int, ...], hidden: int, layers: int, classes: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(hidden)
    model = trained(Mlp(int(np.prod(shape)), hidden, layers, classes), seed=hidden)
    x = images(shape, dtype, seed=3)
    graph = pack(model, x)
    expected = trained_scores(model, x)
    for isa in available_isas():
        session = Session(graph, isa=isa, threads=2)
        assert_same_floats(session.run(x.numpy()), expected)
    assert_same_floats(reference.run(graph, x.numpy())[graph.output], expected)
    session = Session(graph)
    for start in range(0, len(x), 3):  # batches of 1 and 2: another path through the batch norm of torch
        batch = x[start : start + 1 + start % 2]
        assert_same_floats(session.run(batch.numpy()), trained_scores(model, batch))


@pytest.mark.parametrize("isa", available_isas())
def test_verify_finds_no_difference_on_any_isa(isa: str) -> None:
    torch.manual_seed(1)
    model = trained(Mlp(65, 65, 2, 10, hidden_dropout=0.5, activation_quantizer=StochasticSign()), seed=2)
    x = images((5, 13), torch.uint8, seed=4)
    graph = pack(model, x[:1], verify=False)
    rows = verify(model, graph, x, isa=isa, threads=2, batch_size=16)
    assert [row.value for row in rows] == [op.output for op in graph.ops[1:]]
    assert all(row.mismatches == 0 for row in rows)
    assert [row.compared for row in rows] == [41 * n for n in (65, 65, 65, 65, 65, 10, 10)]


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 10, 16, 33])
def test_the_output_is_rounded_as_torch_rounds_it(channels: int) -> None:
    torch.manual_seed(channels)
    model = trained(Mlp(63, 5, 1, channels), seed=channels)
    x = images((63,), torch.uint8, seed=5, count=200)
    graph = pack(model, x)
    assert isinstance(graph.ops[-1], Affine)
    assert_same_floats(Session(graph).run(x.numpy()), trained_scores(model, x))


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-38, -1e-45, float("inf"), float("nan"), 3e38])
@pytest.mark.parametrize("tensor", ["weight", "bias", "running_mean", "running_var"])
def test_a_hostile_output_norm_is_equal_or_refused(tensor: str, value: float) -> None:
    torch.manual_seed(3)
    model = trained(Mlp(9, 4, 1, 5), seed=6)
    getattr(model.norm2, tensor).data[:2] = value  # type: ignore[union-attr]
    x = images((3, 3), torch.uint8, seed=7)
    try:
        graph = pack(model, x)
    except PackError as error:
        assert error.path == "norm2"  # noqa: PT017 (equal or refused: both are right)
        return
    assert_same_floats(Session(graph).run(x.numpy()), trained_scores(model, x))
