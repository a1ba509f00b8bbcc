"""`Vocabulary`: the tokens that a language model knows, and a text as their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from ..errors import DataError

Level = Literal["word", "character"]
END = "<eos>"
"""The word that stands for the end of a line."""


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
    >>> words.encode("it was\\n"), words.decode([1, 2, 0])
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

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens.

        Raises:
            DataError: a token that is not in the vocabulary.
        """
        return self.encode_tokens(split_text(text, self.level))

    def encode_tokens(self, tokens: Iterable[str]) -> list[int]:
        """Return the numbers of tokens.

        Raises:
            DataError: a token that is not in the vocabulary.
        """
        try:
            return [self._numbers[token] for token in tokens]
        except KeyError as error:
            hint = "; write <unk> for it" if "<unk>" in self._numbers else ""
            raise DataError(
                f"{error.args[0]!r} is not in the vocabulary of {len(self):,} {self.level}s{hint}"
            ) from None

    def decode(self, numbers: Iterable[int]) -> str:
        """Return a text whose tokens have these numbers: words with blanks between them.

        Args:
            numbers: each from 0 to the vocabulary's size, exclusive.
        """
        tokens = [self.tokens[int(number)] for number in numbers]
        if self.level == "character":
            return "".join(tokens)
        return " ".join(tokens).replace(f" {END}", "\n").replace(END, "\n").replace("\n ", "\n")

    def save(self, path: str | Path) -> None:
        """Write the vocabulary to a JSON file.

        Raises:
            DataError: the file cannot be written.
        """
        text = json.dumps({"level": self.level, "tokens": self.tokens}, ensure_ascii=False, indent=0)
        try:
            Path(path).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read a vocabulary that `save` wrote.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as a vocabulary: {error}") from error
        tokens = content.get("tokens") if isinstance(content, dict) else None
        if not isinstance(tokens, list) or content.get("level") not in get_args(Level):
            raise DataError(f"{path} is no vocabulary: it needs a level and a list of tokens")
        if not all(isinstance(token, str) for token in tokens) or len(set(tokens)) != len(tokens):
            raise DataError(f"{path} is no vocabulary: its tokens must be different strings")
        return cls(content["level"], tuple(tokens))
