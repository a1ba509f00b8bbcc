"""`featherbit generate` and `featherbit score`: a packed language model at work, without torch."""

from __future__ import annotations

import itertools
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import DataError, InputError
from ._show import console, progress_bar, table

if TYPE_CHECKING:
    from ..runtime import Vocabulary

_FILE = Annotated[Path, typer.Argument(help="A packed language model.")]
_VOCABULARY = Annotated[
    Path | None, typer.Option(help="Its vocabulary; FILE with the ending .vocabulary.json unless given.")
]
_ISA = Annotated[str | None, typer.Option(help="Instruction set, see `featherbit kernels`.")]


def vocabulary_path(file: Path) -> Path:
    """Return where the vocabulary of a packed language model is kept: beside it."""
    return file.with_suffix(".vocabulary.json")


def generate(
    file: _FILE,
    prompt: Annotated[str, typer.Argument(help="What the text begins with; a new line unless given.")] = "",
    tokens: Annotated[int, typer.Option(min=1, help="How many words or characters to add.")] = 100,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the best token; 1 draws as predicted.")] = 1.0,
    top: Annotated[int | None, typer.Option(min=1, help="Draw from so many of the best tokens only.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers.")] = 0,
    vocabulary: _VOCABULARY = None,
    isa: _ISA = None,
) -> None:
    """Let a packed language model continue a text."""
    from ..runtime import Session
    from ..runtime import generate as continuation

    words = _read_vocabulary(file, vocabulary)
    session = Session(file, isa=isa)
    numbers = words.encode(prompt or "\n")
    new = continuation(session, numbers, temperature=temperature, top=top, seed=seed)
    shown = prompt
    sys.stdout.write(shown)
    for token in itertools.islice(new, tokens):
        numbers.append(token)
        whole = words.decode(numbers)
        whole = whole if prompt else whole.removeprefix("\n")
        sys.stdout.write(whole[len(shown) :])
        sys.stdout.flush()
        shown = whole
    sys.stdout.write("\n")


def score(
    file: _FILE,
    text: Annotated[Path, typer.Argument(help="A text file; words are what stands between blanks.")],
    streams: Annotated[int, typer.Option(min=1, help="Parts of the text read side by side.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="How many threads.")] = 1,
    vocabulary: _VOCABULARY = None,
    isa: _ISA = None,
) -> None:
    """Say how well a packed language model predicts a text."""
    from ..runtime import Session, nats_per_token

    words = _read_vocabulary(file, vocabulary)
    session = Session(file, isa=isa, threads=threads)
    try:
        content = text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{text} cannot be read as text: {error}") from error
    numbers = words.encode(content)
    start = time.perf_counter()
    with progress_bar(words.level + "s", len(numbers) - 1) as advance:
        nats = nats_per_token(session, numbers, streams=streams, on_progress=advance)
    seconds = time.perf_counter() - start
    kind, figure = "perplexity", math.exp(nats)
    if words.level == "character":
        kind, figure = "bits per character", nats / math.log(2.0)
    rows = [(text.name, f"{len(numbers) - 1:,}", f"{figure:.3f}", f"{(len(numbers) - 1) / seconds:,.0f}")]
    console().print(table("", ["text", f">{words.level}s", f">{kind}", f">{words.level}s a second"], rows))


def _read_vocabulary(file: Path, given: Path | None) -> Vocabulary:
    from ..runtime import Vocabulary

    path = given or vocabulary_path(file)
    if given is None and file.exists() and not path.exists():
        raise DataError(f"{path} is not there; `featherbit pack` writes it; give another with --vocabulary")
    return Vocabulary.load(path)
