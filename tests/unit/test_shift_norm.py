"""Shift-based batch norm against a definition in plain Python; and that it shifts where others multiply."""

import pytest
import torch
from torch import nn

from factors import OnlyShifts
from featherbit.errors import InputError
from featherbit.layers import QuantLinear, ShiftBatchNorm1d, ShiftBatchNorm2d
from featherbit.quantizers import Sign, ap2
from oracles_shift import power_of_two, shift_norm, shift_norm_gradients

N, C = 12, 5
GAMMA = [1.0, -0.8, 3.0, 0.3, 0.0]
BETA = [0.0, 0.5, -2.0, 0.125, 1.5]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def batch(*shape):
    """Return float64 inputs, so that the oracle's own rounding does not matter."""
    spread = torch.tensor([0.01, 1.0, 30.0, 2.0, 0.3], dtype=torch.float64)
    return torch.randn(*shape, C, dtype=torch.float64) * spread + spread


def layer(kind=ShiftBatchNorm1d, **options):
    norm = kind(C, **options).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(GAMMA))
        if norm.bias is not None:
            norm.bias.copy_(torch.tensor(BETA))
    return norm


def assert_close(a, b):
    """Compare where both differ by the order of float64 sums alone."""
    torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rounding", ["nearest", "floor"])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_training_normalizes_as_the_oracle_does(eps, rounding):
    x = batch(N)
    expected, *_ = shift_norm(x.tolist(), GAMMA, BETA, eps, rounding)
    assert_close(layer(eps=eps, rounding=rounding)(x), expected)


def test_the_gradients_are_those_of_the_torch7_code():
    norm, x, incoming = layer(), batch(N).requires_grad_(), torch.randn(N, C, dtype=torch.float64)
    norm(x).backward(incoming)
    g_x, g_gamma, g_beta = shift_norm_gradients(x.tolist(), incoming.tolist(), GAMMA, norm.eps)
    assert_close(x.grad, g_x)
    assert_close(norm.weight.grad, g_gamma)
    assert_close(norm.bias.grad, g_beta)


def test_where_all_factors_are_powers_of_two_it_is_an_ordinary_batch_norm():
    """C is +-2, so sigma is 2 and AP2 changes nothing: torch's own gradients are then the true ones."""
    x = torch.tensor([1.0, -3.0, -3.0, 1.0], dtype=torch.float64).repeat(2, 1).T.clone().requires_grad_()
    ours, theirs = ShiftBatchNorm1d(2, eps=1e-12).double(), nn.BatchNorm1d(2, eps=1e-12).double()
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight.copy_(torch.tensor([0.5, -4.0]))
            norm.bias.copy_(torch.tensor([1.0, 0.3]))
    incoming = torch.randn(4, 2, dtype=torch.float64)
    results = []
    for norm in (ours, theirs):
        x.grad = None
        norm.zero_grad()
        y = norm(x)
        y.backward(incoming)
        results.append((y.detach(), x.grad, norm.weight.grad, norm.bias.grad))
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)  # eps, and sigma's root


def test_images_and_sequences_are_normalized_by_channel_over_all_places():
    x = batch(3, 4, 2)  # [B, H, W, C]
    expected = layer()(x.reshape(-1, C)).reshape(3, 4, 2, C)
    assert torch.allclose(layer(ShiftBatchNorm2d)(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), expected, atol=1e-12)
    sequence = x.reshape(3, 8, C).transpose(1, 2)  # [B, C, L]
    assert torch.allclose(layer()(sequence).transpose(1, 2).reshape(3, 4, 2, C), expected, atol=1e-12)


def test_images_have_the_gradients_of_their_pixels():
    incoming = torch.randn(3, 4, 2, C, dtype=torch.float64)
    norms, x = (layer(ShiftBatchNorm2d), layer()), batch(3, 4, 2)
    images, pixels = x.permute(0, 3, 1, 2).clone().requires_grad_(), x.reshape(-1, C).clone().requires_grad_()
    norms[0](images).backward(incoming.permute(0, 3, 1, 2))
    norms[1](pixels).backward(incoming.reshape(-1, C))
    assert_close(images.grad.permute(0, 2, 3, 1).reshape(-1, C), pixels.grad)
    assert_close(norms[0].weight.grad, norms[1].weight.grad)
    assert_close(norms[0].bias.grad, norms[1].bias.grad)


@pytest.mark.parametrize("kind", [ShiftBatchNorm1d, ShiftBatchNorm2d])
@pytest.mark.parametrize("rounding", ["nearest", "floor"])
def test_every_factor_forward_and_backward_is_a_power_of_two(kind, rounding):
    norm = layer(kind, rounding=rounding).float()
    places = (3, 5) if kind is ShiftBatchNorm2d else ()
    x, incoming = torch.randn(7, C, *places, requires_grad=True), torch.randn(7, C, *places)
    count = x.numel() // C
    with OnlyShifts(count) as watch:
        y = norm(x)
    assert watch.seen >= 5  # variance, two scales, both running statistics, and those of AP2 itself
    with OnlyShifts(count) as watch:
        y.backward(incoming)
    assert watch.seen >= 5
    with OnlyShifts() as watch, torch.no_grad():
        norm.eval()(x)
    assert watch.seen >= 2


def test_the_watch_on_factors_fails_on_an_ordinary_product():
    a, b, norm = torch.full((3, 2), 3.0), torch.full((3, 2), 5.0), nn.BatchNorm1d(2)
    with pytest.raises(AssertionError, match="a product of"), OnlyShifts():
        a * b
    with pytest.raises(AssertionError, match="a division by 3"), OnlyShifts(7):
        b / 3
    with pytest.raises(AssertionError, match="may multiply"), OnlyShifts():
        norm(a)
    with pytest.raises(AssertionError, match="multiplies by"), OnlyShifts():
        a.add_(b, alpha=0.3)


@pytest.mark.parametrize("running", ["inverse_std", "var"])
@pytest.mark.parametrize("momentum", [0.125, None])
def test_running_statistics_average_the_batches(momentum, running):
    norm = layer(momentum=momentum, running=running)
    mean, spread = torch.zeros(C, dtype=torch.float64), torch.ones(C, dtype=torch.float64)
    for count in range(1, 4):
        x = batch(N)
        norm(x)
        _, batch_mean, inverse = shift_norm(x.tolist(), GAMMA, BETA, norm.eps)
        inverse = torch.tensor(inverse, dtype=torch.float64)
        share = 1 / count if momentum is None else momentum
        mean += share * (torch.tensor(batch_mean, dtype=torch.float64) - mean)
        spread += share * ((inverse if running == "inverse_std" else inverse**-2 - norm.eps) - spread)
    assert_close(norm.running_mean, mean)
    assert_close(norm.get_buffer(f"running_{running}"), spread)
    assert norm.num_batches_tracked == 3


@pytest.mark.parametrize("running", ["inverse_std", "var"])
def test_eval_mode_is_an_affine_map_by_rounded_running_statistics(running):
    norm = layer(running=running)
    for _ in range(4):
        norm(batch(N))
    state = {name: value.clone() for name, value in norm.state_dict().items()}
    x = batch(2)
    spread = state[f"running_{running}"].tolist()
    inverse = spread if running == "inverse_std" else [(s + norm.eps) ** -0.5 for s in spread]
    columns = zip(x.T.tolist(), state["running_mean"].tolist(), inverse, GAMMA, BETA, strict=True)
    expected = [[(v - m) * power_of_two(i) * power_of_two(g) + b for v in vs] for vs, m, i, g, b in columns]
    assert norm.eval()(x).T.tolist() == expected
    assert torch.equal(norm(x), norm(x))
    assert all(torch.equal(value, state[name]) for name, value in norm.state_dict().items())


def test_eval_mode_passes_gradients_as_an_affine_map_does():
    norm, x = layer().eval(), batch(N).requires_grad_()
    norm(x).sum().backward()
    assert_close(x.grad[0], [power_of_two(g) for g in GAMMA])  # the running deviation is 1
    assert_close(norm.weight.grad, x.detach().sum(0))


def test_without_tracking_eval_mode_uses_the_batch():
    norm = layer(track_running_stats=False)
    x = batch(N)
    expected = norm(x)
    assert torch.equal(norm.eval()(x), expected)
    assert set(norm.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize(("options", "names"), [({"affine": False}, set()), ({"bias": False}, {"weight"})])
def test_weight_and_bias_can_be_left_out(options, names):
    norm = ShiftBatchNorm1d(C, **options).double()
    x = batch(N).requires_grad_()
    y = norm(x)
    y.sum().backward()
    expected, *_ = shift_norm(x.tolist(), [1.0] * C, [0.0] * C, norm.eps)
    assert_close(y.detach(), expected)
    assert {name for name, _ in norm.named_parameters()} == names
    assert norm.eval()(x).shape == x.shape


def test_a_constant_channel_becomes_the_bias():
    norm = layer()
    x = batch(N)
    x[:, 1] = 3.0
    y = norm(x.requires_grad_())
    y.sum().backward()
    assert y[:, 1].tolist() == [0.5] * N
    assert x.grad.isfinite().all()


def test_half_precision_inputs_are_normalized_in_float32():
    x = torch.randn(8, C)
    norm = ShiftBatchNorm1d(C)
    with torch.autocast("cpu", torch.bfloat16):
        result = norm(x.bfloat16())
    assert result.dtype == torch.float32
    assert torch.equal(result, ShiftBatchNorm1d(C)(x.bfloat16().float()))


def test_state_goes_through_a_state_dict_and_parameters_can_be_reset():
    norm, other = layer(), ShiftBatchNorm1d(C).double()
    norm(batch(N))
    other.load_state_dict(norm.state_dict())
    x = batch(N)
    assert torch.equal(norm.eval()(x), other.eval()(x))
    norm.reset_parameters()
    fresh = ShiftBatchNorm1d(C).double().state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in norm.state_dict().items())


@pytest.mark.parametrize(
    ("norm", "shape", "words"),
    [
        (ShiftBatchNorm1d(C), (4, 6), r"ShiftBatchNorm1d\(5\) takes \[B, 5\] or \[B, 5, L\], got shape \(4, 6\)"),
        (ShiftBatchNorm1d(C), (5,), r"got shape \(5,\)"),
        (ShiftBatchNorm2d(C), (4, 5), r"ShiftBatchNorm2d\(5\) takes \[B, 5, H, W\], got shape \(4, 5\)"),
        (ShiftBatchNorm1d(C), (1, 5), r"more than 1 value per channel is needed in training, got shape \(1, 5\)"),
        (ShiftBatchNorm2d(C), (0, 5, 2, 2), "more than 1 value per channel"),
    ],
)
def test_shapes_it_cannot_take_are_refused(norm, shape, words):
    with pytest.raises(InputError, match=words):
        norm(torch.zeros(shape))


def test_an_unknown_running_statistic_is_refused():
    with pytest.raises(InputError, match="running must be 'inverse_std' or 'var', got 'std'"):
        ShiftBatchNorm1d(C, running="std")


@pytest.mark.parametrize("kind", [ShiftBatchNorm1d, ShiftBatchNorm2d])
def test_an_exported_norm_subtracts_multiplies_and_adds(kind):
    x = torch.zeros(2, C, *[3] * (2 if kind is ShiftBatchNorm2d else 0))
    program = torch.export.export(layer(kind).float().eval(), (x,))
    varying, called = {program.graph_signature.user_inputs[0]}, []
    for node in program.graph.nodes:
        if node.op == "call_function" and any(argument.name in varying for argument in node.all_input_nodes):
            varying.add(node.name)
            called.append(str(node.target))
    assert called == ["aten.sub.Tensor", "aten.mul.Tensor", "aten.add.Tensor"]


def test_a_network_with_it_learns():
    x = torch.randn(256, 20).sign()
    labels = (x[:, :5].sum(1) > 0).long()
    model = nn.Sequential(QuantLinear(20, 64, bias=False), ShiftBatchNorm1d(64), Sign(), QuantLinear(64, 2, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(x) / 8, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(x).argmax(1) == labels).float().mean() > 0.9


def test_rounding_is_that_of_ap2():
    assert ap2(torch.tensor([1.5]), "floor").item() == 1.0
    x = torch.tensor([[-1.5], [1.5]])
    assert ShiftBatchNorm1d(1, rounding="floor")(x).flatten().tolist() == [-0.75, 0.75]
    assert ShiftBatchNorm1d(1)(x).flatten().tolist() == [-0.75, 0.75]
