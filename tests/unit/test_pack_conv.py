"""Packing of convolutions, pools and branches: which ops come out, and that they equal the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from featherbit.errors import PackError
from featherbit.ir import (
    Add,
    AddReal,
    Affine,
    ChannelsLast,
    Clamp,
    Concat,
    Conv2d,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    MultiThreshold,
    Op,
    PackSign,
    PRelu,
    QuantizeLinear,
    Rearrange,
    SumPool2d,
    Threshold,
    ToReal,
    reference,
)
from featherbit.layers import FixedPointInput, QuantConv1d, QuantConv2d, QuantLinear
from featherbit.pack import pack
from featherbit.pack._capture import capture
from featherbit.pack._lower import lower
from featherbit.pack._values import Codes, Derived
from featherbit.quantizers import DorefaActivation, DorefaWeight, LinearQuant, Lsq, Sign, Ternary, UnsignedQuant
from strategies_torch import Written, trained

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, 6, 5), dtype=np.uint8))
SIGNALS = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 3, 9)).astype(np.float32))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def conv(channels: int = 3, n: int = 4, kernel: int = 3, **options: Any) -> QuantConv2d:
    return QuantConv2d(channels, n, kernel, **{"padding": kernel // 2, "bias": False, **options})


def first() -> list[nn.Module]:
    return [FixedPointInput(8), conv(), nn.BatchNorm2d(4), Sign()]


def kinds(graph: Graph) -> list[type[Op]]:
    return [type(op) for op in graph.ops]


def assert_packs(model: nn.Module, x: Tensor, expected_kinds: list[type[Op]] | None = None) -> Graph:
    """Assert that a model is packed to what it is, in the reference interpreter, and return the graph."""
    trained(model, 3)
    graph = pack(model, x, verify="reference")
    with torch.no_grad():
        expected = model(x).numpy()
    got = reference.run(graph, x.numpy())[graph.output]
    assert got.shape == expected.shape
    assert np.array_equal(got, expected)
    assert len(np.unique(expected)) > 1
    assert expected_kinds is None or kinds(graph) == expected_kinds
    return graph


FIRST: list[type[Op]] = [Input, ChannelsLast, Conv2d, Threshold]
END: list[type[Op]] = [Flatten, Linear, Affine]


def dense(features: int) -> list[nn.Module]:
    return [nn.Flatten(), QuantLinear(features, 3, bias=False), nn.BatchNorm1d(3)]


def test_pooling_before_the_norm_is_of_sums() -> None:
    layers = [*first(), conv(4), nn.MaxPool2d(2), nn.BatchNorm2d(4), Sign()]
    assert_packs(nn.Sequential(*layers, *dense(24)), PIXELS, [*FIRST, Conv2d, MaxPool2d, Threshold, *END])


def test_pooling_after_the_norm_is_of_codes_where_the_scale_of_every_channel_is_positive() -> None:
    class Norm(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight.abs() + 0.1, self.bias, eps=self.eps
            )

    for layers in ([nn.Hardtanh(), nn.MaxPool2d(2)], [nn.MaxPool2d(2), nn.MaxPool2d(2, 1), nn.Hardtanh()]):
        model = nn.Sequential(*first(), conv(4), Norm(4), *layers, LinearQuant(2))
        pools = [type(layer) for layer in layers].count(nn.MaxPool2d)
        graph = assert_packs(model, PIXELS)
        assert kinds(graph)[4 : 6 + pools] == [Conv2d, MultiThreshold, *[MaxPool2d] * pools]


def test_pooling_after_a_falling_norm_is_of_codes_too() -> None:
    model = nn.Sequential(*first(), conv(4), nn.BatchNorm2d(4), nn.MaxPool2d(3, 2, 1), Sign())
    graph = assert_packs(model, PIXELS)
    assert kinds(graph)[4:7] == [Conv2d, Threshold, MaxPool2d]
    threshold = graph.ops[5]
    assert isinstance(threshold, Threshold)
    assert 0 < bin(int(threshold.flips[0])).count("1") < 4  # some channels rise, some fall


def test_pooling_of_scaled_sums_before_a_falling_norm_is_of_sums() -> None:
    layer = conv(4, input_quantizer=Sign(), weight_quantizer=DorefaWeight(2))
    model = nn.Sequential(*first(), layer, nn.MaxPool2d(2), nn.BatchNorm2d(4), Sign())
    assert kinds(assert_packs(model, PIXELS))[4:7] == [Conv2d, MaxPool2d, Threshold]


def test_pooling_between_a_falling_and_another_falling_norm_is_refused() -> None:
    model = trained(nn.Sequential(*first(), conv(4), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.BatchNorm2d(4), Sign()), 3)
    with pytest.raises(
        PackError, match="put the max pooling before the batch norm, or the quantizer before it"
    ) as caught:
        pack(model, PIXELS, verify="reference")
    assert caught.value.path == "8"


@pytest.mark.parametrize("quantizer", [LinearQuant(2), LinearQuant(8), UnsignedQuant(1), UnsignedQuant(4)])
def test_codes_of_k_bits_come_from_2_to_the_k_less_1_thresholds(quantizer: LinearQuant | UnsignedQuant) -> None:
    model = nn.Sequential(*first(), conv(4), nn.BatchNorm2d(4), quantizer, conv(4, 2))
    graph = assert_packs(model, PIXELS)
    op = graph.ops[5]
    assert isinstance(op, MultiThreshold)
    assert op.thresholds.shape == (4, 2**quantizer.bits - 1)


def test_a_pooling_of_codes_and_of_signs_is_one_op() -> None:
    model = nn.Sequential(*first(), nn.MaxPool2d(2), conv(4), LinearQuant(3), nn.MaxPool2d(3, 1, 1, 1))
    assert kinds(assert_packs(model, PIXELS))[4:8] == [MaxPool2d, Conv2d, MultiThreshold, MaxPool2d]


def test_averages_are_sums_whose_division_is_part_of_the_threshold() -> None:
    layers = [*first(), nn.AvgPool2d(3, 1, 1), LinearQuant(3), conv(4), nn.ReLU(), UnsignedQuant(2)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4), Sign())
    graph = assert_packs(model, PIXELS)
    assert kinds(graph)[4:] == [
        SumPool2d, MultiThreshold, Conv2d, MultiThreshold, SumPool2d, Flatten, Threshold
    ]  # fmt: skip


def test_an_average_over_a_power_of_two_of_places_keeps_its_grid() -> None:
    model = nn.Sequential(*first(), nn.AvgPool2d(2), QuantConv2d(4, 2, 1, bias=False, input_quantizer=LinearQuant(8)))
    graph = assert_packs(model, PIXELS)
    assert kinds(graph)[4:] == [SumPool2d, MultiThreshold, Conv2d, ToReal, Rearrange]
    mean = Written(lambda m, x: m.body(x).mean((2, 3)), body=nn.Sequential(*first()))
    x = PIXELS[:, :, :4, :4].contiguous()
    assert kinds(assert_packs(mean, x))[4:] == [SumPool2d, ToReal, Flatten]


@pytest.mark.parametrize("pad_value", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("padding", [1, (0, 2), "same"])
def test_padding_of_any_value_becomes_part_of_the_convolution(padding: Any, pad_value: float) -> None:
    layer = QuantConv2d(4, 2, 3, padding=padding, bias=False, pad_value=pad_value)
    op = assert_packs(nn.Sequential(*first(), layer), PIXELS).ops[4]
    assert isinstance(op, Conv2d)
    assert op.pad_value == pad_value
    assert op.padding == ((0, 2, 0, 2) if padding == (0, 2) else (1, 1, 1, 1))


def test_padding_at_some_sides_is_taken_from_f_pad() -> None:
    model = Written(
        lambda m, x: m.c(nn.functional.pad(m.q(x), (2, 0, 0, 1), value=-1.0)), q=LinearQuant(2), c=conv(3, padding=0)
    )
    (op,) = (op for op in assert_packs(model, torch.randn(3, 3, 4, 5)).ops if isinstance(op, Conv2d))
    assert (op.padding, op.pad_value, op.zero_point) == ((0, 2, 1, 0), -2, 2)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), ((1, 2), (2, 1))])
def test_groups_strides_and_dilations_are_kept(groups: int, stride: Any, dilation: Any) -> None:
    layer = conv(4, 8, groups=groups, stride=stride, dilation=dilation)
    op = assert_packs(nn.Sequential(*first(), layer), PIXELS).ops[4]
    assert isinstance(op, Conv2d)
    assert op.groups == groups
    assert (op.stride, op.dilation) == tuple((v, v) if isinstance(v, int) else v for v in (stride, dilation))


def test_a_signal_is_an_image_of_height_1() -> None:
    layers = [Sign(), QuantConv1d(3, 4, 3, stride=2, padding=1), nn.BatchNorm1d(4), nn.MaxPool1d(2), Sign()]
    graph = assert_packs(nn.Sequential(*layers, QuantConv1d(4, 2, 2), nn.Flatten()), SIGNALS)
    assert kinds(graph)[:5] == [Input, PackSign, ChannelsLast, Conv2d, Threshold]
    assert graph.types[graph.ops[4].output].shape == (1, 5, 4)


@pytest.mark.parametrize(
    ("quantizer", "encoding", "bits"),
    [
        (Sign(window=None), "sign", 1),
        (DorefaWeight(2), "sign", 2),
        (DorefaWeight(4), "sign", 4),
        (Ternary(), "twos_complement", 2),
        (LinearQuant(3), "twos_complement", 3),
        (LinearQuant(8), "twos_complement", 8),
        (Lsq(2, narrow=True), "twos_complement", 2),
    ],
)
def test_weights_have_the_fewest_bits_that_hold_them(quantizer: nn.Module, encoding: str, bits: int) -> None:
    layer = conv(3, 4, input_quantizer=Sign(), weight_quantizer=quantizer)
    op = next(
        op
        for op in assert_packs(nn.Sequential(layer, nn.BatchNorm2d(4)), PIXELS / 64 - 2).ops
        if isinstance(op, Conv2d)
    )
    assert (op.weight_encoding, op.weight_bits) == (encoding, bits)


@pytest.mark.parametrize("quantizer", [DorefaActivation(2), Lsq(3, signed=False), Lsq(2)])
def test_scales_that_are_no_powers_of_two_follow_the_product(quantizer: nn.Module) -> None:
    layer = conv(4, 4, input_quantizer=quantizer, weight_quantizer=Lsq(2))
    model = nn.Sequential(FixedPointInput(8), conv(), nn.BatchNorm2d(4), layer, nn.BatchNorm2d(4), Sign())
    assert kinds(assert_packs(model, PIXELS))[2:6] == [Conv2d, MultiThreshold, Conv2d, Threshold]


def test_a_residual_sum_of_integers_stays_in_integers() -> None:
    body = nn.Sequential(conv(4), conv(4, input_quantizer=Sign()))
    model = nn.Sequential(*first(), Written(lambda m, x: m.body(x) + 0.5 * x, body=body), nn.BatchNorm2d(4), Sign())
    graph = assert_packs(model, PIXELS, [*FIRST, Conv2d, Threshold, Conv2d, Add, Threshold, Rearrange])
    add = graph.ops[7]
    assert isinstance(add, Add)
    assert (add.a_multiplier, add.b_multiplier) == (2, 1)


def test_a_difference_of_integers_is_a_sum_with_a_negative_factor() -> None:
    model = Written(lambda m, x: m.s(m.b(m.a(x)) - m.a(x)), a=nn.Sequential(*first()), b=conv(4), s=LinearQuant(2))
    adds = [op for op in assert_packs(model, PIXELS).ops if isinstance(op, Add)]
    assert [(add.a_multiplier, add.b_multiplier) for add in adds] == [(1, -1)]


def test_a_residual_sum_of_real_numbers_says_why() -> None:
    body = nn.Sequential(conv(4, input_quantizer=Sign()), nn.BatchNorm2d(4))
    model = nn.Sequential(
        FixedPointInput(8), conv(), nn.BatchNorm2d(4), nn.PReLU(4), Written(lambda m, x: m.body(x) + x, body=body)
    )
    graph = assert_packs(model, PIXELS)
    assert kinds(graph) == [
        Input, ChannelsLast, Conv2d, Threshold, Conv2d, Affine, Affine, PRelu, AddReal, Rearrange
    ]  # fmt: skip
    (add,) = (op for op in graph.ops if isinstance(op, AddReal))
    assert add.reason == "batch_norm makes real numbers of the sum 4.body.0"


def test_a_negative_slope_before_a_quantizer_is_computed_in_float() -> None:
    slopes = Written(lambda m, x: nn.functional.prelu(x, torch.full((4,), -0.5)))
    graph = assert_packs(nn.Sequential(FixedPointInput(8), conv(), nn.BatchNorm2d(4), slopes, LinearQuant(2)), PIXELS)
    assert {Affine, PRelu, QuantizeLinear} <= set(kinds(graph))


def test_codes_beside_a_sum_are_joined_or_computed_in_float() -> None:
    block = Written(lambda m, x: torch.cat([x, m.q(m.c(x))], 1), q=Sign(), c=conv(4))
    assert Concat in kinds(assert_packs(nn.Sequential(*first(), block, conv(8, 2)), PIXELS))
    other = Written(lambda m, x: torch.cat([x, m.q(m.c(x))], 1), q=LinearQuant(2), c=conv(4))
    mixed = kinds(assert_packs(nn.Sequential(*first(), other, nn.Hardtanh(-0.75), Sign(), conv(8, 2)), PIXELS))
    assert [kind for kind in mixed if kind in (ToReal, Concat, Clamp, PackSign)][:5] == [
        ToReal, ToReal, Concat, Clamp, PackSign
    ]  # fmt: skip


def test_a_value_with_several_readers_is_computed_once() -> None:
    stem = nn.Sequential(FixedPointInput(8), conv(), nn.BatchNorm2d(4))
    parts = {"stem": stem, "sign": Sign(), "a": conv(4), "b": conv(4), "c": conv(4)}

    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.stem(x)
        bits = m.sign(y)
        return m.a(bits) + m.b(bits) + m.c(m.sign(y + 1.0)) + y  # type: ignore[no-any-return]

    graph = assert_packs(Written(forward, **parts), PIXELS)
    assert kinds(graph).count(ChannelsLast) == 1
    assert kinds(graph).count(Conv2d) == 4
    assert len({op.output for op in graph.ops}) == len(graph.ops)


@pytest.mark.parametrize("weight_quantizer", [Sign(window=None), DorefaWeight(2), Ternary()])
@pytest.mark.parametrize("pad_value", [0.0, 1.0])
@pytest.mark.parametrize("activation", [Sign(), UnsignedQuant(1), LinearQuant(2)])
def test_every_sum_that_occurs_is_among_those_that_can(
    activation: nn.Module, pad_value: float, weight_quantizer: nn.Module
) -> None:
    if not isinstance(activation, Sign):
        pad_value /= 2
    layer = conv(3, 2, padding=2, weight_quantizer=weight_quantizer, pad_value=pad_value)
    x = torch.cat([torch.zeros(1, 3, 4, 5), torch.ones(1, 3, 4, 5), -torch.ones(1, 3, 4, 5), torch.randn(20, 3, 4, 5)])
    model = nn.Sequential(activation, layer).eval()
    graph, state = lower(capture(model, x), x)
    values = reference.run(graph, x.numpy())
    for name, meaning in state.meaning.items():
        if isinstance(meaning, Codes) and name in values:
            found = np.unique(values[name]).tolist()
            assert set(found) <= set(meaning.codes)


def test_a_pooling_is_padded_at_the_right_sides() -> None:
    for pool in (nn.MaxPool2d(3, 1, (1, 0)), nn.AvgPool2d((3, 2), 1, (1, 0))):
        assert_packs(nn.Sequential(*first(), pool, conv(4, input_quantizer=LinearQuant(2))), PIXELS)


def test_a_flattened_image_permutes_the_columns_of_the_next_layer() -> None:
    graph = assert_packs(nn.Sequential(*first(), *dense(120)), PIXELS, [*FIRST, *END])
    assert graph.types[graph.ops[4].output].shape == (120,)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.flip(1),
        lambda x: x.permute(0, 1, 3, 2),
        lambda x: x.reshape(len(x), 2, 2, 6, 5).transpose(1, 2).reshape(len(x), 4, 6, 5),
        lambda x: torch.cat(list(x.chunk(2, 1))[::-1], 1),
        lambda x: x.unsqueeze(1).squeeze(1),
    ],
)
def test_a_permutation_costs_at_most_one_op(move: Any) -> None:
    graph = assert_packs(nn.Sequential(*first(), Written(lambda m, x: move(x)), conv(4, 2)), PIXELS)
    assert sum(kind in (Rearrange, Concat) for kind in kinds(graph)[:-1]) <= 3
    assert_packs(nn.Sequential(*first(), conv(4), Written(lambda m, x: move(x)), LinearQuant(2), conv(4, 2)), PIXELS)


def test_a_slice_is_a_rearrangement() -> None:
    graph = assert_packs(nn.Sequential(*first(), Written(lambda m, x: x[:, ::2, 1:, :-1]), conv(2, 2)), PIXELS)
    assert kinds(graph)[4:6] == [Rearrange, Conv2d]


def test_a_quantizer_of_real_numbers_is_their_own() -> None:
    for quantizer in (Sign(), LinearQuant(3), UnsignedQuant(2), Lsq(2, narrow=True)):
        model = nn.Sequential(conv(3, input_quantizer=quantizer), nn.BatchNorm2d(4))
        reals = torch.from_numpy(np.random.default_rng(2).normal(size=(4, 3, 6, 5)).astype(np.float32))
        found = kinds(assert_packs(model, reals))
        assert found.count(PackSign) + found.count(QuantizeLinear) == 1
        assert (Clamp in found) == isinstance(quantizer, Lsq)  # 3 of the 4 codes of 2 bits


def test_an_inplace_operator_changes_what_is_read_after_it() -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.stem(x)
        m.relu(y)
        y += 0.25
        return m.conv(m.sign(y))  # type: ignore[no-any-return]

    stem = nn.Sequential(FixedPointInput(8), conv(), nn.BatchNorm2d(4))
    parts = {"stem": stem, "relu": nn.ReLU(inplace=True), "sign": LinearQuant(3), "conv": conv(4)}
    assert_packs(Written(forward, **parts), PIXELS)


@pytest.mark.parametrize("bias", [False, True])
def test_a_norm_of_flat_features_of_an_image_is_one_threshold_a_place(bias: bool) -> None:
    layers = [conv(4, bias=bias), nn.Flatten(), nn.BatchNorm1d(120), Sign(), QuantLinear(120, 3)]
    graph = assert_packs(nn.Sequential(*first(), *layers), PIXELS)
    assert kinds(graph) == [*FIRST, Conv2d, Flatten, Threshold, Linear, Affine]
    op = graph.ops[6]
    assert isinstance(op, Threshold)
    assert op.thresholds.shape == (120,)


def test_a_norm_of_memory_with_gaps_is_evaluated_with_gaps() -> None:
    norm = nn.BatchNorm2d(16)
    turned = Written(lambda m, x: m.norm(x.transpose(2, 3)), norm=norm)
    model = trained(nn.Sequential(FixedPointInput(8), conv(3, 16), turned, Sign()), 3)
    state = lower(capture(model, PIXELS), PIXELS)[1]
    (value,) = (v for n, v in state.values.items() if n.target is torch.ops.aten.batch_norm.default)
    assert isinstance(value, Derived)
    with torch.no_grad():
        sums = model[1](model[0](PIXELS)).transpose(2, 3)  # type: ignore[index]
        expected, together = norm(sums), norm(sums.contiguous())
    assert not torch.equal(expected, together)  # torch rounds otherwise
    rows = (sums.permute(0, 2, 3, 1).reshape(-1, 16) * 128).long().numpy()  # [R, N]
    got = state.evaluate(replace(value, by_place=False), rows)
    assert np.array_equal(got, expected.permute(0, 2, 3, 1).reshape(-1, 16).numpy())


def test_eight_bits_of_many_channels_are_folded_in_one_search() -> None:
    model = nn.Sequential(LinearQuant(8), conv(3, 256, 1), nn.BatchNorm2d(256), LinearQuant(8))
    op = next(op for op in assert_packs(model, torch.randn(1, 3, 2, 2)).ops if isinstance(op, MultiThreshold))
    assert op.thresholds.shape == (256, 255)
