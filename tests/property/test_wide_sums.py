"""Products of 8-bit operands whose sums pass 2^24: exact integers, rounded to float32 once, in torch and packed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from featherbit.errors import PackError
from featherbit.ir import AddReal, Graph, MaxPool2d
from featherbit.kernels import available_isas
from featherbit.layers import QuantConv2d, QuantLinear
from featherbit.pack import pack, verify
from featherbit.quantizers import LinearQuant, Lsq, Sign, UnsignedQuant

K = 600
TARGETS = [2**24 + distance for distance in range(-3, 4)]
INPUTS = {
    "unsigned": (lambda: UnsignedQuant(8), 256.0),
    "lsq": (lambda: Lsq(8, signed=False, first_step=0.375), 1 / 0.375),
}
WEIGHTS = {"linear": lambda: LinearQuant(8), "lsq": lambda: Lsq(8)}


def inputs(steps: float) -> Tensor:
    """Return codes, over the steps of 1, whose sums with the first row of weights are minus the targets and more."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (len(TARGETS) + 5, K))
    for row, target in zip(codes, TARGETS, strict=False):
        row[:] = 0
        row[-1] = target % 128  # the weight there is -1, elsewhere -128
        full, rest = divmod(target // 128, 255)
        row[:full], row[full] = 255, rest
    codes[len(TARGETS)] = 255
    return torch.from_numpy((codes / steps).astype(np.float32))


def weights(n: int = 6) -> NDArray[np.int64]:
    """Return integers `[n, K]`: extreme, of either sign, and random ones."""
    rng = np.random.default_rng(1)
    rows = rng.integers(-128, 128, (n, K))
    rows[0], rows[0, -1] = -128, -1
    rows[1] = 127
    rows[2] = np.where(rng.random(K) < 0.01, -128, 127)
    rows[3] = -rows[2] - 1
    return rows


def give(layer: Any, integers: NDArray[np.int64]) -> Any:
    """Give a layer the latent weights that stand for these integers."""
    step = layer.weight_quantizer.scale if isinstance(layer.weight_quantizer, Lsq) else torch.tensor(2.0**-7)
    with torch.no_grad():
        layer.weight.copy_((torch.from_numpy(integers) * step).reshape(layer.weight.shape))
    return layer


def norm(kind: type[Any], n: int) -> Any:
    """Return a batch norm whose outputs are of the size of 1 for sums past 2^24, with scales of both signs."""
    made = kind(n)
    with torch.no_grad():
        made.weight.copy_(torch.linspace(-1, 1.1, n))
        made.bias.fill_(0.4)
        made.running_mean.normal_(generator=torch.Generator().manual_seed(2))
    return made


class Scaled(nn.Module):
    """Bring the norm's variance to the layer's results, whatever its scales."""

    def __init__(self, layer: nn.Module, after: Any) -> None:
        super().__init__()
        self.layer, self.after = layer, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.layer(x))


def fitted(layer: Any, after: Any, x: Tensor) -> nn.Module:
    layer.eval()
    with torch.no_grad():
        after.running_var.fill_(float(layer(x).var()))
    return Scaled(layer, after).eval()


def assert_equal_everywhere(model: nn.Module, x: Tensor) -> Graph:
    graph = pack(model.eval(), x, verify="reference")
    assert max(kind.bound for kind in graph.types.values() if kind.element == "int32") > 2**24
    for isa in available_isas():
        rows = verify(model, graph, x, isa=isa)
        assert sum(row.compared for row in rows) > 0
        assert [row for row in rows if row.mismatches] == []
    return graph


@pytest.mark.parametrize("source", INPUTS)
@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_layer_in_evaluation_mode_rounds_exact_sums_once(source: str, weight: str) -> None:
    make, steps = INPUTS[source]
    layer = give(QuantLinear(K, 6, False, input_quantizer=make(), weight_quantizer=WEIGHTS[weight]()), weights()).eval()
    x = inputs(steps)
    codes = np.rint(x.numpy().astype(np.float64) * steps).astype(np.int64)
    sums = codes @ weights().T
    assert set(-sums[: len(TARGETS), 0]) == set(TARGETS)
    assert np.abs(sums).max() == 255 * (128 * (K - 1) + 1)
    with torch.no_grad():
        got = layer(x).numpy()
    scale = torch.tensor(1.0)
    for quantizer in (layer.input_quantizer, layer.weight_quantizer):
        scale = scale * (quantizer.scale.detach() if hasattr(quantizer, "codes") else quantizer.format.scale)
    assert np.array_equal(got, sums.astype(np.float32) * scale.numpy())


@pytest.mark.parametrize("source", INPUTS)
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("after", [(UnsignedQuant(8),), (nn.ReLU(), UnsignedQuant(8)), (nn.Hardtanh(), Sign()), ()])
def test_a_packed_dense_layer_is_equal(source: str, weight: str, after: tuple[nn.Module, ...]) -> None:
    torch.manual_seed(0)
    make, steps = INPUTS[source]
    layer = give(QuantLinear(K, 6, False, input_quantizer=make(), weight_quantizer=WEIGHTS[weight]()), weights())
    x = inputs(steps)
    head = fitted(layer, norm(nn.BatchNorm1d, 6), x)
    end = [QuantLinear(6, 3, False), norm(nn.BatchNorm1d, 3)] if after else []
    assert_equal_everywhere(nn.Sequential(head, *copy.deepcopy(after), *end), x)


def test_a_residual_sum_of_large_sums_is_one_of_real_numbers() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.quantizer = UnsignedQuant(8)
            options: dict[str, Any] = {"weight_quantizer": LinearQuant(8), "input_quantizer": UnsignedQuant(8)}
            self.one = give(QuantLinear(K, 6, False, **options), weights())
            self.other = give(QuantLinear(K, 6, False, **options), weights()[::-1].copy())
            self.norm = norm(nn.BatchNorm1d, 6)
            self.norm.running_var.fill_(1e4)
            self.sign = Sign()
            self.last = QuantLinear(6, 3, False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.quantizer(x)
            return self.last(self.sign(self.norm(self.one(x) + self.other(x))))

    graph = assert_equal_everywhere(Sum(), inputs(256.0))
    assert next(op.reason for op in graph.ops if isinstance(op, AddReal)).startswith("the sum can reach")


@pytest.mark.parametrize("pool_first", [True, False])
@pytest.mark.parametrize("quantizer", [UnsignedQuant(8), Sign()])
def test_a_packed_convolution_is_equal(pool_first: bool, quantizer: nn.Module) -> None:
    options: dict[str, Any] = {"input_quantizer": UnsignedQuant(8), "weight_quantizer": LinearQuant(8)}
    layer = give(QuantConv2d(K // 6, 6, (2, 3), padding=1, bias=False, **options), weights())
    x = inputs(256.0)[:8].reshape(2, 4, K // 6, 6).permute(0, 2, 1, 3).contiguous()  # [B, C, 4, 6]
    x[0] = 1.0
    after = norm(nn.BatchNorm2d, 6)
    if not pool_first:
        after.weight.data.abs_()
    pool = nn.MaxPool2d(2)
    layer.eval()
    with torch.no_grad():
        after.running_var.fill_(float(layer(x).var()))
        assert float(layer(x).abs().max()) > 2**24 / 2**15
    middle = [pool, after] if pool_first else [after, pool]
    end = [copy.deepcopy(quantizer), nn.Flatten(), QuantLinear(36, 3, bias=False)]
    graph = assert_equal_everywhere(nn.Sequential(layer, *middle, *end), x)
    assert any(isinstance(op, MaxPool2d) for op in graph.ops)


def test_training_and_small_products_stay_in_float32() -> None:
    x = torch.rand(2, 4, requires_grad=True)
    for layer in (QuantLinear(4, 2, weight_quantizer=LinearQuant(8)).eval(), QuantLinear(4, 2)):
        assert "ToCopy" not in str(layer.multiply(x, _weight(layer)).grad_fn)
    wide = QuantLinear(K, 2, False, weight_quantizer=LinearQuant(8))
    x = torch.rand(3, K)
    assert torch.equal(wide(x), F.linear(x, wide.quantized_weight))
    wide.eval()
    assert torch.equal(wide(x), F.linear(x.double(), wide.quantized_weight.double()).float())


def _weight(layer: QuantLinear) -> Any:
    from featherbit.layers._product import operand

    return operand(layer.weight_quantizer, layer.weight)


class Float64(nn.Module):
    """A product in float64 whose result is used as it is."""

    def __init__(self, *after: nn.Module) -> None:
        super().__init__()
        self.quantizer, self.after = UnsignedQuant(8), nn.Sequential(*after)
        self.weight = nn.Parameter(torch.from_numpy(weights()).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.after(F.linear(self.quantizer(x).double(), self.weight.double()))


@pytest.mark.parametrize("after", [(), (nn.ReLU(),), (Sign(),)])
def test_a_product_that_stays_in_float64_is_refused(after: tuple[nn.Module, ...]) -> None:
    with pytest.raises(PackError, match="convert it to float32 first"):
        pack(Float64(*after), inputs(256.0), verify="reference")


def test_a_plain_float32_product_past_2_to_the_24_is_refused() -> None:
    plain = nn.Linear(K, 6, bias=False)
    plain.weight.data.copy_(torch.from_numpy(weights()))
    with pytest.raises(PackError, match=r"a sum of 600 products can reach \d+, past 2\^24.*QuantLinear") as caught:
        pack(nn.Sequential(UnsignedQuant(8), plain), inputs(256.0), verify="reference")
    assert caught.value.path == "1"


def test_other_values_cannot_become_float64() -> None:
    class Wide(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x.double() * 2).float()

    with pytest.raises(PackError, match="which only codes may be"):
        pack(Wide(), inputs(256.0), verify="reference")
