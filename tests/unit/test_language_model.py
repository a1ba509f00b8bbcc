"""The recurrent language model: where its quantizers and dropouts are, and that its state is all it remembers."""

import pytest
import torch
from torch import nn

from featherbit.layers import QuantLSTM, QuantRNN
from featherbit.layers._product import operand
from featherbit.models import LanguageModel
from featherbit.models._dropped import Dropped
from featherbit.quantizers import Identity, LinearQuant, Lsq, Sign


def tokens(steps, batch, *, seed=0):
    return torch.randint(0, 7, (steps, batch), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("cell", "kind"), [("lstm", QuantLSTM), ("rnn", QuantRNN)])
def test_scores_of_every_step_and_the_state_are_returned(cell, kind):
    torch.manual_seed(0)
    model = LanguageModel(7, 3, 5, 2, cell=cell)
    scores, state = model(tokens(4, 2))
    assert isinstance(model.recurrent, kind)
    assert (scores.shape, scores.dtype) == ((4, 2, 7), torch.float32)
    assert [part.shape for part in (state if cell == "lstm" else (state,))] == [(2, 2, 5)] * (
        2 if cell == "lstm" else 1
    )


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_text_read_in_two_parts_gives_the_same_scores(cell):
    torch.manual_seed(1)
    model = LanguageModel(7, 3, 5, 2, cell=cell, activation_quantizer=LinearQuant(4), weight_quantizer=LinearQuant(4))
    model.eval()
    whole, last = model(tokens(9, 2))
    first, state = model(tokens(9, 2)[:4])
    second, end = model(tokens(9, 2)[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)  # float sums in another order
    torch.testing.assert_close(end, last)
    forgotten, _ = model(tokens(9, 2)[4:])
    assert not torch.allclose(forgotten, second)


def test_every_product_has_quantizers_of_its_own():
    model = LanguageModel(7, 3, 5, 2, activation_quantizer=Lsq(4), weight_quantizer=Lsq(3), gradient_quantizer=Sign())
    products = [model.scores] + [p for cell in model.recurrent.cells for p in (cell.input_product, cell.hidden_product)]
    for name, bits in (("input_quantizer", 4), ("weight_quantizer", 3)):
        found = [getattr(product, name) for product in products]
        assert [quantizer.bits for quantizer in found] == [bits] * 5
        assert len({id(quantizer) for quantizer in found}) == 5
    assert len({id(product.gradient_quantizer) for product in products}) == 5


def test_weights_are_signs_unless_said_otherwise_and_activations_float():
    model = LanguageModel(7, 3, 5)
    assert set(model.scores.quantized_weight.unique().tolist()) == {-1.0, 1.0}
    x = torch.rand(4, 5)
    assert torch.equal(model.scores.input_quantizer(x), x)


def test_the_nonlinearity_of_an_rnn_is_as_named():
    torch.manual_seed(0)
    model = LanguageModel(7, 3, 5, cell="rnn", nonlinearity="relu", weight_quantizer=Identity())
    assert isinstance(model.recurrent.cells[0].nonlinearity, nn.ReLU)


class Coarse(nn.Module):
    """Rounds to whole numbers, as codes with a scale of 3."""

    scale = torch.tensor(3.0)

    def codes(self, x):
        return x.round()

    def forward(self, x):
        return self.codes(x) * self.scale


@pytest.mark.parametrize("quantizer", [LinearQuant(4), Coarse(), nn.Identity()])
def test_dropout_acts_in_training_only_and_behind_the_quantizer(quantizer):
    torch.manual_seed(2)
    dropped = Dropped(quantizer, 0.75)
    x = torch.rand(1000) * 0.4 + 0.55  # to 0.95
    exact = operand(quantizer, x)
    for share, given in ((0.75, operand(dropped, x)), (0.0, operand(dropped.eval(), x))):
        assert given.scale is exact.scale
        kept = given.values != 0
        assert kept.float().mean() == pytest.approx(1 - share, abs=0.05)
        assert torch.equal(given.values[kept], exact.values[kept] / (1 - share))
    assert torch.equal(dropped(x), quantizer(x))
    assert operand(dropped, x).values.ne(0).all()


def test_dropout_stands_at_the_inputs_of_layers_and_not_at_hidden_states():
    model = LanguageModel(7, 3, 5, 2, dropout=0.5, activation_quantizer=Lsq(4))
    products = [model.scores, *(cell.input_product for cell in model.recurrent.cells)]
    assert [product.input_quantizer.share for product in products] == [0.5] * 3
    assert [type(cell.hidden_product.input_quantizer) for cell in model.recurrent.cells] == [Lsq, Lsq]
    assert not any(isinstance(module, Dropped) for module in LanguageModel(7, 3, 5).modules())
