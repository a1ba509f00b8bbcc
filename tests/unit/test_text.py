"""Text: tokens and vocabularies, the Penn Treebank's files, other files, and parallel streams."""

import hashlib
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from featherbit.data import NO_TARGET, Corpus, Streams, _text_files, penn_treebank, text_file
from featherbit.errors import DataError
from featherbit.runtime import Vocabulary
from tiny_text import write_treebank


@pytest.fixture
def folder(tmp_path):
    return write_treebank(tmp_path / "ptb")


def read(folder, part):
    return (folder / f"ptb.{part}.txt").read_text(encoding="utf-8")


def test_a_vocabulary_goes_by_frequency_and_then_by_alphabet():
    vocabulary = Vocabulary.of(["b", "c", "a", "c", "b", "d"], "word")
    assert vocabulary.tokens == ("b", "c", "a", "d")
    assert len(vocabulary) == 4


@pytest.mark.parametrize("text", ["a b\nb a\n", "a\n\nb", "\na", ""])
def test_words_are_encoded_with_line_ends_and_decoded_again(text):
    vocabulary = Vocabulary("word", ("<eos>", "a", "b"))
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert vocabulary.encode("a  b \n") == [1, 2, 0]


def test_characters_are_encoded_one_by_one():
    vocabulary = Vocabulary("character", (" ", "a", "\n"))
    assert vocabulary.encode("a a\n") == [1, 0, 1, 2]
    assert vocabulary.decode(torch.tensor([1, 0, 1, 2])) == "a a\n"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [(("a",), r"'x' is not in the vocabulary of 1 words$"), (("a", "<unk>"), "write <unk> for it")],
)
def test_an_unknown_word_is_a_data_error(tokens, message):
    with pytest.raises(DataError, match=message):
        Vocabulary("word", tokens).encode("a x")


@pytest.mark.parametrize("place", [".", "ptb", "PennTreebank", "simple-examples/data"])
def test_the_treebank_is_found_in_its_usual_folders_and_by_the_environment(tmp_path, monkeypatch, place):
    write_treebank(tmp_path / place)
    monkeypatch.setenv("FEATHERBIT_DATA", str(tmp_path))
    one, two = penn_treebank(tmp_path, checksums=False), penn_treebank(checksums=False)
    assert torch.equal(one.train, two.train)


def test_words_of_the_treebank_are_those_between_blanks_and_an_end_for_each_line(folder):
    corpus = penn_treebank(folder, checksums=False)
    for part, numbers in (("train", corpus.train), ("valid", corpus.validation), ("test", corpus.test)):
        expected = [word for line in read(folder, part).splitlines() for word in [*line.split(), "<eos>"]]
        assert [corpus.vocabulary.tokens[i] for i in numbers] == expected
    counts = torch.bincount(corpus.train)
    assert torch.equal(counts, counts.sort(descending=True).values)


def test_characters_of_the_treebank_are_the_words_with_single_blanks(folder):
    corpus = penn_treebank(folder, level="character", checksums=False)
    expected = re.sub(" *\n *", "\n", read(folder, "test")).lstrip(" ")
    assert corpus.vocabulary.decode(corpus.test) == expected
    assert "<eos>" not in corpus.vocabulary.tokens


def test_a_file_that_is_not_the_published_one_is_refused(folder, monkeypatch):
    with pytest.raises(DataError, match=r"ptb\.train\.txt is not the published file.*data\.checksums=false"):
        penn_treebank(folder)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(_text_files, "_SHA256", {name: sums[name] for name in _text_files._SHA256})
    assert len(penn_treebank(folder).vocabulary) == 10
    path = folder / "ptb.test.txt"
    path.write_bytes(path.read_bytes()[:-20])  # truncated
    with pytest.raises(DataError, match=r"ptb\.test\.txt is not the published file"):
        penn_treebank(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ptb.valid.txt", None, r"ptb\.valid\.txt cannot be read: .*; check the path"),
        ("ptb.train.txt", b" \n", r"ptb\.train\.txt is empty: 2 bytes"),
        ("ptb.test.txt", b"caf\xe9", r"ptb\.test\.txt is no UTF-8 text"),
        ("ptb.test.txt", b"the bird\n", r"ptb\.test\.txt: 'bird' is not in the vocabulary of 10 words; are these"),
    ],
)
def test_faulty_treebank_files_are_data_errors(folder, name, content, message):
    path = folder / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        penn_treebank(folder, checksums=False)


def test_a_missing_treebank_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("FEATHERBIT_DATA", raising=False)
    with pytest.raises(DataError, match=r"data\.path.*FEATHERBIT_DATA.*data\.download=true"):
        penn_treebank()
    with pytest.raises(DataError, match=r"no file ptb\.train\.txt there"):
        penn_treebank(tmp_path)


def test_any_text_is_cut_into_its_beginning_and_its_end(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"abcdefghij" * 10 + b"\r\n" * 10)
    corpus = text_file(path, validation_share=0.1, test_share=0.2)
    assert [len(part) for part in (corpus.train, corpus.validation, corpus.test)] == [77, 11, 22]
    text = corpus.vocabulary.decode(torch.cat([corpus.train, corpus.validation, corpus.test]))
    assert text == "abcdefghij" * 10 + "\n" * 10
    words = text_file(path, level="word", validation_share=0.2, test_share=0.2)
    assert words.vocabulary.tokens == ("<eos>", "abcdefghij" * 10)


@pytest.mark.parametrize(
    ("content", "shares", "message"),
    [
        (None, (0.1, 0.1), "cannot be read"),
        (b"", (0.1, 0.1), "is empty: 0 bytes"),
        (b"\xff", (0.1, 0.1), "is no UTF-8 text"),
        (b"some text", (0.5, 0.5), "must be positive and below 1 together, got 0.5 and 0.5"),
        (b"some text", (0.0, 0.5), "must be positive"),
        (b"some text", (0.01, 0.3), "the validation part has 0 tokens"),
        (b"aaaaaaaaaa", (0.3, 0.3), "every token is 'a'"),
    ],
)
def test_faulty_texts_and_shares_are_data_errors(tmp_path, content, shares, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        text_file(path, validation_share=shares[0], test_share=shares[1])


def test_a_corpus_needs_two_tokens_in_each_part():
    two, one = torch.tensor([0, 1]), torch.tensor([0])
    with pytest.raises(DataError, match="tiny: the test part has 1 tokens"):
        Corpus("tiny", two, two, one, Vocabulary("word", ("a", "b")))


@given(length=st.integers(2, 60), streams=st.integers(1, 8), steps=st.integers(1, 9))
def test_streams_predict_every_token_but_the_first_once_and_in_order(length, streams, steps):
    streams = min(streams, length - 1)
    batches = list(Streams(torch.arange(length), streams, steps))
    assert all(len(inputs) == steps for inputs, _ in batches[:-1])
    inputs, targets = (torch.cat(parts).T for parts in zip(*batches, strict=True))  # [streams, steps]
    predicted = targets[targets != NO_TARGET]
    assert predicted.tolist() == list(range(1, length))
    assert torch.equal(inputs[targets != NO_TARGET] + 1, predicted)
    assert inputs.min() >= 0


@given(length=st.integers(2, 60), streams=st.integers(1, 8), steps=st.integers(1, 9))
def test_streams_of_training_are_all_full(length, streams, steps):
    streams = min(streams, length - 1)
    whole = Streams(torch.arange(length), streams, steps, drop_last=True)
    batches = list(whole)
    assert len(whole) == len(batches)
    inputs, targets = (torch.cat(parts).T.flatten() for parts in zip(*batches, strict=True))
    used = (length - 1) // streams * streams
    assert inputs.tolist() == list(range(used))
    assert torch.equal(targets, inputs + 1)
