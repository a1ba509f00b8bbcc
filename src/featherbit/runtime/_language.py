"""Language models at work: text that a packed one continues, and how well it predicts a text.

The network gives scores; their softmax is what it takes the next token's probabilities to be. That is computed in
float64 here, after the network, so it changes no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._session import Session, State

_STEPS = 64  # of a sequence that is run at once: the scores of 10,000 words take 2.5 MB


def generate(
    session: Session,
    prompt: Sequence[int],
    *,
    temperature: float = 1.0,
    top: int | None = None,
    seed: int = 0,
    state: State | None = None,
) -> Iterator[int]:
    """Yield tokens that continue a prompt, without an end.

    Each is drawn from what the network predicts.

    Args:
        session: a packed language model: tokens `[B, 1]` in, a score for each token out.
        prompt: tokens to begin with, at least one.
        temperature: scores are divided by it; 0 always takes the best token.
        top: draw from so many of the best tokens only; `None` is all.
        seed: of the random numbers.
        state: to begin with; `None` is all zeros.

    Raises:
        InputError: no language model, no prompt, a token that is none, or a setting out of range.
    """
    tokens = _tokens_of(session)
    if len(prompt) == 0:
        raise InputError("a prompt has at least one token; give the end of a line, say")
    if not temperature >= 0:
        raise InputError(f"temperature must be 0 or more, got {temperature}")
    if top is not None and top < 1:
        raise InputError(f"top must be 1 or more, got {top}")
    rng = np.random.default_rng(seed)
    sequence = np.array(prompt, dtype=np.int64).reshape(-1, 1, 1)  # [T, 1, 1]
    if sequence.min() < 0 or sequence.max() >= tokens:  # at once, not at the first token asked for
        raise InputError(f"tokens are 0 to {tokens - 1}, got {sequence.min()} to {sequence.max()}")
    return _drawn(session, sequence, state, rng, temperature, tokens if top is None else min(top, tokens))


def _drawn(
    session: Session,
    sequence: NDArray[np.int64],
    state: State | None,
    rng: np.random.Generator,
    temperature: float,
    top: int,
) -> Iterator[int]:
    for start in range(0, len(sequence), _STEPS):
        scores, state = session.run_sequence(sequence[start : start + _STEPS], state)
    row = scores[-1, 0]
    while True:
        token = _draw(row.astype(np.float64), rng, temperature, top)
        yield token
        scores, state = session.step(np.array([[token]]), state)
        row = scores[0]


def _draw(scores: NDArray[np.float64], rng: np.random.Generator, temperature: float, top: int) -> int:
    if temperature == 0:
        return int(scores.argmax())
    best = np.argpartition(-scores, top - 1)[:top] if top < len(scores) else np.arange(len(scores))
    chances = np.exp((scores[best] - scores.max()) / temperature)
    return int(rng.choice(best, p=chances / chances.sum()))


def nats_per_token(
    session: Session,
    tokens: Sequence[int] | NDArray[np.int64],
    *,
    streams: int = 1,
    threads: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> float:
    """Return how many nats of information a token of a text is to a language model.

    The mean over the text, which is read from its beginning to its end. Perplexity is the exponential of it; bits per
    character are it divided by the logarithm of 2.

    Args:
        session: a packed language model: tokens `[B, 1]` in, a score for each token out.
        tokens: of the text, N >= 2; the first is predicted by nothing and not counted.
        streams: parts of the text that are read side by side, each from a state of zeros; training evaluates 20.
        threads: of the calls; `None` is the session's.
        on_progress: called with (tokens done, tokens in all) now and then.

    Raises:
        InputError: no language model, less than two tokens, no stream, or a token that is none.
    """
    size = _tokens_of(session)
    text = np.asarray(tokens)
    if text.ndim != 1 or len(text) < 2 or text.dtype.kind not in "iu":
        raise InputError(f"a text of at least 2 tokens is needed, got {text.dtype} of shape {list(text.shape)}")
    if streams < 1:
        raise InputError(f"streams must be 1 or more, got {streams}")
    if text.min() < 0 or text.max() >= size:
        raise InputError(f"tokens are 0 to {size - 1}, got {text.min()} to {text.max()}")
    inputs, targets = (_side_by_side(part, streams) for part in (text[:-1], text[1:]))  # [length, streams]
    counted = _side_by_side(np.ones(len(text) - 1, dtype=bool), streams)  # where there is something to predict
    state: State | None = None
    total = 0.0
    for start in range(0, len(inputs), _STEPS):
        steps = slice(start, start + _STEPS)
        scores, state = session.run_sequence(inputs[steps, :, None], state, threads=threads)
        total += float(_surprise(scores, targets[steps])[counted[steps]].sum())
        if on_progress is not None:
            on_progress(min((start + _STEPS) * streams, len(text) - 1), len(text) - 1)
    return total / (len(text) - 1)


def _side_by_side(row: NDArray[Any], streams: int) -> NDArray[Any]:
    """Return a row cut into columns `[length, streams]`, the last ones filled up with zeros."""
    length = -(-len(row) // streams)
    return np.pad(row, (0, length * streams - len(row))).reshape(streams, length).T


def _surprise(scores: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return minus the logarithm of the probability of each target `[T, B]`, of scores `[T, B, tokens]`."""
    rows = scores.astype(np.float64)
    highest = rows.max(axis=-1)
    logarithms: NDArray[np.float64] = highest + np.log(np.exp(rows - highest[..., None]).sum(axis=-1))
    return logarithms - np.take_along_axis(rows, targets[..., None], axis=-1)[..., 0]


def _tokens_of(session: Session) -> int:
    """Return how many tokens a language model scores.

    Raises:
        InputError: the network is none.
    """
    if session.input_dtype != np.int32 or not session.state_shapes or len(session.output_shape) != 1:
        raise InputError("the network is no language model: it must take tokens, have a memory and score each token")
    return session.output_shape[0]
