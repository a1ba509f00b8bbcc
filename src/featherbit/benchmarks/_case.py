"""What a benchmark case is, and the registry of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from .. import ir
from ..errors import InputError

Call = Callable[[], object]


@dataclass(frozen=True)
class Setting:
    """What a case is built for.

    Args:
        threads: how many threads each contestant may use, >= 1.
        isa: the instruction set of ours; None is the active one.
        seed: of every random number.
        lce_python: the Python of larq compute engine's environment; None is what `FEATHERBIT_LCE_PYTHON` says.
    """

    threads: int = 1
    isa: str | None = None
    seed: int = 0
    lce_python: Path | None = None


@dataclass(frozen=True)
class Peer:
    """One competitor of ours, ready to be called, or the reason why it is not there.

    Args:
        name: `"torch float32"`, `"torch int8"`, `"onnxruntime float32"`, `"onnxruntime int8"`,
            `"larq-compute-engine"` or `"larq-compute-engine fastest"`.
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


Build = Callable[[Setting], Contest]


@dataclass(frozen=True)
class Case:
    """A named benchmark.

    Args:
        name: what the command line calls it.
        description: one line.
        build: makes the contest and checks ours against torch float32, exactly.
        graph: makes the packed network of ours alone, where it is one.
        extra: it belongs to a sweep and runs only when it is named.
    """

    name: str
    description: str
    build: Build = field(repr=False)
    graph: Callable[[], ir.Graph] | None = field(default=None, repr=False)
    extra: bool = False


_CASES: dict[str, Case] = {}


def case(
    name: str, description: str, *, graph: Callable[[], ir.Graph] | None = None, extra: bool = False
) -> Callable[[Build], Build]:
    """Register the decorated builder as the case `name`.

    Args:
        name: unique, lower case with hyphens.
        description: one line for `featherbit bench --list`.
        graph: as in `Case`.
        extra: as in `Case`.

    Raises:
        InputError: the name is taken.
    """

    def register(build: Build) -> Build:
        if name in _CASES:
            raise InputError(f"the benchmark case {name!r} is registered twice; give one of them another name")
        _CASES[name] = Case(name, description, build, graph, extra)
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


def select(names: Iterable[str]) -> list[Case]:
    """Return the cases of those names, in the order given.

    Args:
        names: of cases, or patterns with `*`, `?` and `[...]`; none is every case that is not extra.

    Raises:
        InputError: there is no such case, or none that a pattern fits.
    """
    chosen: dict[str, Case] = {}
    for name in names:
        if any(letter in name for letter in "*?["):
            fitting = [each for each in _CASES.values() if fnmatchcase(each.name, name)]
            if not fitting:
                raise InputError(f"no benchmark case fits {name!r}; `featherbit bench --list` shows them all")
        else:
            fitting = [find(name)]
        chosen |= {each.name: each for each in fitting}
    return list(chosen.values()) or [each for each in _CASES.values() if not each.extra]
