"""The recurrent language model: where its quantizers and dropouts are, and that its state is all it remembers."""

import pytest
import torch
from torch import nn

from featherbit.layers import QuantLSTM, QuantRNN
from featherbit.models import LanguageModel
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
    assert model.scores.input_quantizer is None


def test_the_nonlinearity_of_an_rnn_is_as_named():
    torch.manual_seed(0)
    model = LanguageModel(7, 3, 5, cell="rnn", nonlinearity="relu", weight_quantizer=Identity())
    assert isinstance(model.recurrent.cells[0].nonlinearity, nn.ReLU)


def test_dropout_acts_in_training_only_and_before_the_quantizer():
    torch.manual_seed(2)
    model = LanguageModel(7, 64, 8, dropout=0.5, activation_quantizer=LinearQuant(4), weight_quantizer=Identity())
    seen = []
    model.recurrent.cells[0].input_product.input_quantizer.register_forward_hook(
        lambda _, given, __: seen.append(given[0])
    )
    model(tokens(20, 2))
    assert 0.4 < (seen[0] == 0).float().mean() < 0.6
    model.eval()
    model(tokens(20, 2))
    assert (seen[1] == 0).sum() == 0
