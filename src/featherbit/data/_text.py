"""Text as one long row of token numbers, and the parallel streams in which a language model reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ..errors import DataError

Level = Literal["word", "character"]
END = "<eos>"
"""The word that stands for the end of a line."""
NO_TARGET = -100
"""The target where there is nothing to predict; torch's cross entropy leaves it out."""


def split_text(text: str, level: Level) -> list[str]:
    """Return the tokens of a text.

    Args:
        text: anything.
        level: `"character"`: each character; `"word"`: what stands between white space, and `<eos>` for each line's
            end.

    >>> split_text("no it\\nwas", "word")
    ['no', 'it', '<eos>', 'was']
    """
    return list(text) if level == "character" else text.replace("\n", f" {END} ").split()


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a language model knows; a token's number is its place.

    Args:
        level: what the tokens are.
        tokens: all different.

    >>> words = Vocabulary("word", ("<eos>", "it", "was"))
    >>> words.encode("it was\\n").tolist(), words.decode([1, 2, 0])
    ([1, 2, 0], 'it was\\n')
    """

    level: Level
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, tokens: Iterable[str], level: Level) -> Vocabulary:
        """Return the vocabulary of a text, most frequent first.

        Equally frequent tokens go by alphabet.

        Args:
            tokens: of the text, in any order.
            level: what they are.
        """
        counts = Counter(tokens)
        return cls(level, tuple(sorted(counts, key=lambda token: (-counts[token], token))))

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, text: str) -> Tensor:
        """Return the numbers of a text's tokens, int64 `[N]`.

        Raises:
            DataError: a token that is not in the vocabulary.
        """
        return self.encode_tokens(split_text(text, self.level))

    def encode_tokens(self, tokens: Iterable[str]) -> Tensor:
        """Return the numbers of tokens, int64 `[N]`.

        Raises:
            DataError: a token that is not in the vocabulary.
        """
        try:
            return torch.tensor([self._numbers[token] for token in tokens], dtype=torch.int64)
        except KeyError as error:
            hint = "; write <unk> for it" if "<unk>" in self._numbers else ""
            raise DataError(
                f"{error.args[0]!r} is not in the vocabulary of {len(self):,} {self.level}s{hint}"
            ) from None

    def decode(self, numbers: Iterable[int] | Tensor) -> str:
        """Return a text whose tokens have these numbers: words with blanks between them.

        Args:
            numbers: each from 0 to the vocabulary's size, exclusive.
        """
        tokens = [self.tokens[int(number)] for number in numbers]
        if self.level == "character":
            return "".join(tokens)
        return " ".join(tokens).replace(f" {END}", "\n").replace(END, "\n").replace("\n ", "\n")


@dataclass(frozen=True, eq=False)
class Corpus:
    """The three parts of a text, as numbers of tokens.

    Args:
        name: for messages.
        train: what the network learns from, int64 `[N]`.
        validation: what a checkpoint is selected by, likewise.
        test: looked at once, after training.
        vocabulary: what the numbers mean.

    Raises:
        DataError: a part of less than two tokens, or a vocabulary of less than two.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    vocabulary: Vocabulary

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            count = len(getattr(self, name))
            if count < 2:
                raise DataError(f"{self.name}: the {name} part has {count} tokens; it needs 2, one to predict another")
        if len(self.vocabulary) < 2:
            raise DataError(f"{self.name}: every token is {self.vocabulary.tokens[0]!r}; give another text")


class Streams:
    """One pass over a text cut into parallel streams, a few steps at a time.

    Stream b is the b-th part of the text; batch after batch continues it, so a state can be carried along.

    Args:
        tokens: int64 `[N]`, N >= 2.
        streams: how many, 1 to N - 1; the batch size.
        steps: tokens of each stream in a batch, >= 1; the last batch may have fewer.
        drop_last: whether the tokens that do not fill all streams are left out, less than one for each; else the last
            streams end with `NO_TARGET`s.

    >>> for inputs, targets in Streams(torch.arange(8), 2, 2):
    ...     print(inputs.T.tolist(), targets.T.tolist())
    [[0, 1], [4, 5]] [[1, 2], [5, 6]]
    [[2, 3], [6, 0]] [[3, 4], [7, -100]]
    """

    def __init__(self, tokens: Tensor, streams: int, steps: int, *, drop_last: bool = False) -> None:
        predicted = len(tokens) - 1
        length = predicted // streams if drop_last else -(-predicted // streams)
        padding = torch.zeros(max(0, length * streams - predicted), dtype=torch.int64)
        inputs = torch.cat([tokens[:-1], padding])[: length * streams]
        targets = torch.cat([tokens[1:], padding + NO_TARGET])[: length * streams]
        self._inputs = inputs.view(streams, length).T.contiguous()  # [length, streams]
        self._targets = targets.view(streams, length).T.contiguous()
        self.steps = steps

    def __len__(self) -> int:
        return -(-len(self._inputs) // self.steps)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(self._inputs), self.steps):
            steps = slice(start, start + self.steps)
            yield self._inputs[steps], self._targets[steps]
