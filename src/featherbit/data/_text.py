"""Text as one long row of token numbers, and the parallel streams in which a language model reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError
from ..runtime import Vocabulary

NO_TARGET = -100
"""The target where there is nothing to predict; torch's cross entropy leaves it out."""


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
