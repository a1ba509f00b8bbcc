"""Nats per token against sums one by one, and the metrics that are made of them."""

import math

import pytest
import torch
from torch import nn

from featherbit.data import Corpus
from featherbit.errors import InputError
from featherbit.models import LanguageModel
from featherbit.quantizers import Identity
from featherbit.runtime import Vocabulary
from featherbit.train import nats_per_token
from featherbit.train._metric import ACCURACY, BITS_PER_CHARACTER, PERPLEXITY
from featherbit.train._task import LanguageModeling


def text(length, *, seed=0):
    return torch.randint(0, 5, (length,), generator=torch.Generator().manual_seed(seed))


def oracle(model, tokens, streams):
    """Return the mean of `-log p` of each token but the first, token by token, each stream from zeros."""
    length = -(-(len(tokens) - 1) // streams)
    total = 0.0
    for start in range(0, len(tokens) - 1, length):
        state = None
        for i in range(start, min(start + length, len(tokens) - 1)):
            scores, state = model(tokens[i].view(1, 1), state)
            total -= scores.double().view(-1).log_softmax(0)[tokens[i + 1]].item()
    return total / (len(tokens) - 1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LanguageModel(5, 4, 6, weight_quantizer=Identity(), dropout=0.5).eval()


@pytest.mark.parametrize("length", [2, 3, 21, 22, 2000])
def test_every_token_but_the_first_counts_once(model, length):
    tokens = text(length)
    expected = oracle(model, tokens, min(20, length - 1))
    assert nats_per_token(model, tokens) == pytest.approx(expected, rel=1e-5)  # float32 scores


class Uniform(nn.Module):
    """Gives all of eight tokens the same score."""

    def forward(self, tokens, state):
        return torch.zeros(*tokens.shape, 8), state


def test_a_model_that_knows_nothing_has_the_vocabularys_size_as_perplexity():
    nats = nats_per_token(Uniform(), text(500))
    assert nats == pytest.approx(math.log(8))
    two = torch.tensor([0, 1])
    words, characters = (
        LanguageModeling(Corpus("tiny", two, two, two, Vocabulary(level, tuple("abcdefgh"))), 5)
        for level in ("word", "character")
    )
    assert (words.metric, characters.metric) == (PERPLEXITY, BITS_PER_CHARACTER)
    assert words.figure(nats) == pytest.approx(8)
    assert characters.figure(nats) == pytest.approx(3)
    assert words.figure(1e5) == math.inf


def test_evaluating_restores_the_mode_and_ignores_a_callers_autocast(model):
    tokens = text(100)
    expected = nats_per_token(model, tokens)
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        assert nats_per_token(model, tokens) == expected
    assert model.training


def test_a_text_of_one_token_is_refused(model):
    with pytest.raises(InputError, match="at least two tokens is needed, got 1"):
        nats_per_token(model, text(1))


def test_no_more_of_the_training_text_is_measured_than_of_the_validation_text(model):
    corpus = Corpus("tiny", text(300), text(50, seed=1), text(70, seed=2), Vocabulary("word", tuple("abcde")))
    task = LanguageModeling(corpus, 5)
    assert task.measure(model, "train") == task.figure(nats_per_token(model, corpus.train[:50]))
    assert task.measure(model, "test") == task.figure(nats_per_token(model, corpus.test))
    assert [task.describe(split) for split in ("train", "test")] == ["train split, 50 words", "test split, 70 words"]


def test_a_metric_knows_which_value_is_better_and_not_a_number_is_the_worst():
    assert ACCURACY.merit(90.0) > ACCURACY.merit(80.0) > ACCURACY.merit(math.nan)
    assert PERPLEXITY.merit(80.0) > PERPLEXITY.merit(90.0) > PERPLEXITY.merit(math.nan)
    assert BITS_PER_CHARACTER.text(1.2345) == "1.234"
