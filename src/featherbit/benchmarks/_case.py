"""What a benchmark case is, and the registry of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..errors import InputError

Call = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """What a case is built for.

    Args:
        threads: how many threads each contestant may use, >= 1.
        isa: the instruction set of ours; None is the active one.
        seed: of every random number.
    """

    threads: int = 1
    isa: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Peer:
    """One competitor of ours, ready to be called, or the reason why it is not there.

    Args:
        name: `"torch float32"`, `"torch int8"`, `"onnxruntime float32"` or `"onnxruntime int8"`.
        call: runs it once; None when it is missing.
        note: which variant was the fastest, or why it is missing.
    """

    name: str
    call: Call | None
    note: str = ""


@dataclass(frozen=True)
class Contest:
    """Ours and its peers on the same problem, all of it prepared.

    Args:
        ours: runs ours once.
        peers: the competitors, missing ones included.
    """

    ours: Call
    peers: tuple[Peer, ...]


@dataclass(frozen=True)
class Case:
    """A named benchmark.

    Args:
        name: what the command line calls it.
        description: one line.
        build: makes the contest and checks ours against torch float32, exactly.
    """

    name: str
    description: str
    build: Callable[[Setting], Contest] = field(repr=False)


_CASES: dict[str, Case] = {}


def case(name: str, description: str) -> Callable[[Callable[[Setting], Contest]], Callable[[Setting], Contest]]:
    """Register the decorated builder as the case `name`.

    Args:
        name: unique, lower case with hyphens.
        description: one line for `featherbit bench --list`.

    Raises:
        InputError: the name is taken.
    """

    def register(build: Callable[[Setting], Contest]) -> Callable[[Setting], Contest]:
        if name in _CASES:
            raise InputError(f"the benchmark case {name!r} is registered twice; give one of them another name")
        _CASES[name] = Case(name, description, build)
        return build

    return register


def cases() -> Mapping[str, Case]:
    """Return every registered case by name, in the order of registration."""
    return dict(_CASES)


def find(name: str) -> Case:
    """Return the case called `name`.

    Raises:
        InputError: there is none; the message suggests a near one.
    """
    if name in _CASES:
        return _CASES[name]
    near = difflib.get_close_matches(name, _CASES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(_CASES)}"
    raise InputError(f"unknown benchmark case {name!r}; {hint}")
