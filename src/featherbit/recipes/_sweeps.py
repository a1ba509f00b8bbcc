"""Find sweeps by name, expand them into runs and validate every one of them before the first starts.

A sweep is a TOML file: the recipe that it varies, the seeds, and cases, a grid, or both.

    description = "Ordinary against shift-based batch norm at three learning rates"
    recipe = "digits-mlp"
    seeds = [0, 1, 2]
    baseline = "batch"  # the first case unless named

    [cases.batch]

    [cases.shift]
    model.norm = "shift"

    [grid]
    optimizer.learning_rate = [1e-3, 3e-3, 1e-2]

A case's settings are written as in a recipe; a grid has a list of values for each setting, and with both, each case is
run at each point of the grid. `figure` says what is compared, and `[smoke]` changes the
recipe's own smoke run where the cases need that.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import RecipeError
from ..train import Figure, Recipe, Sweep, SweepRun
from ._load import load, suggest

_SHIPPED = Path(__file__).parent / "sweeps"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+-]*")  # also a folder's, on any system
_Tree = dict[str, Any]
_Seed = Annotated[int, Field(ge=0, lt=2**63)]


class _SweepFile(BaseModel):
    """What a sweep's file may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    recipe: str
    seeds: tuple[_Seed, ...] = (0,)
    baseline: str | None = None
    figure: Figure = "last.test"
    cases: dict[str, _Tree] = {}
    grid: _Tree = {}
    smoke: _Tree = {}


class _Case(NamedTuple):
    """A case's tables of settings, the same by dotted name, and those of a grid."""

    tables: list[_Tree]
    changes: _Tree
    point: _Tree


def sweep_names() -> tuple[str, ...]:
    """Return the names of the shipped sweeps, sorted."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def load_sweep(
    name_or_path: str | Path,
    overrides: Iterable[str] = (),
    *,
    seeds: Sequence[int] | None = None,
    smoke: bool = False,
) -> Sweep:
    """Return a sweep, every run validated.

    Args:
        name_or_path: a shipped sweep's name, or the path of a `.toml` file.
        overrides: settings to change in every run, after those of its case; see `load`.
        seeds: instead of the file's.
        smoke: whether the smoke settings, the recipe's and then the sweep's, are applied, before those of the cases.

    Raises:
        RecipeError: no such sweep, or a case whose recipe is impossible, with the case's name.
    """
    path = _find(name_or_path)
    file = _read(path)
    chosen = tuple(file.seeds if seeds is None else seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise RecipeError(f"{path}: seeds must be different numbers, at least one, got {list(chosen)}")
    base = path.parent / file.recipe  # a file beside the sweep's, or a shipped recipe
    recipe = base if base.is_file() else file.recipe
    cases = _expand(file, path)
    common = [file.smoke] if smoke else []
    runs = tuple(
        SweepRun(case, _load_case(recipe, case, [*common, *tables, *overrides, f"seed={seed}"], smoke), flat, point)
        for seed in chosen
        for case, (tables, flat, point) in cases.items()
    )
    return Sweep(path.stem, file.description, _baseline(file, cases, path), file.figure, runs)


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if text in sweep_names():
        return _SHIPPED / f"{text}.toml"
    if Path(text).is_file():
        return Path(text).resolve()
    shipped = ", ".join(sweep_names())
    hint = suggest(text, sweep_names())
    raise RecipeError(f"no sweep {text!r}{hint}; shipped are {shipped}, or give the path of a .toml file")


def _read(path: Path) -> _SweepFile:
    try:
        return _SweepFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise RecipeError(f"{path}: {problems}") from error


def _explain(problem: Any) -> str:
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        known = tuple(_SweepFile.model_fields)
        return f"unknown key {key}{suggest(key, known)}; a sweep has {', '.join(known)}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    return f"{key}: {problem['msg']}, got {problem['input']!r}"


def _expand(file: _SweepFile, path: Path) -> dict[str, _Case]:
    """Return the cases by name: each at each point of the grid."""
    if not file.cases and not file.grid:
        raise RecipeError(f"{path}: a sweep needs [cases.NAME] tables, a [grid], or both")
    points = list(_points(file.grid, path))
    cases: dict[str, _Case] = {}
    for (case, settings), point in itertools.product(file.cases.items() or [("", {})], points):
        name = ",".join(part for part in (case, _point_name(point)) if part)
        _check_name(name, cases, path)
        tables = [settings, *(_tree(key, value) for key, value in point.items())]
        cases[name] = _Case(tables, _flat(tables), point)
        if "seed" in cases[name].changes:
            raise RecipeError(f"{path}: case {name} sets seed; list the seeds once, as seeds = [0, 1, 2]")
    return cases


def _check_name(name: str, taken: Mapping[str, Any], path: Path) -> None:
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"{path}: a case's name is a folder's: letters and digits, after the first also . _ = , + -; got {name!r}"
        )
    if name in taken:
        raise RecipeError(f"{path}: two cases are called {name}; change a name or a value of the grid")


def _points(grid: _Tree, path: Path) -> Iterator[dict[str, Any]]:
    """Yield a value for each of the grid's settings, in every combination; the first setting changes last."""
    values = _flat([grid])
    for key, choices in values.items():
        if not isinstance(choices, list) or not choices:
            raise RecipeError(f"{path}: grid.{key} must be a list of values, got {choices!r}")
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))


def _point_name(point: Mapping[str, Any]) -> str:
    """Name a point of a grid by the last words of its settings, or by all where two end alike."""
    words = [key.rpartition(".")[2] for key in point]
    names = words if len(set(words)) == len(words) else list(point)
    return ",".join(f"{name}={_text(value)}" for name, value in zip(names, point.values(), strict=True))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _load_case(recipe: str | Path, case: str, overrides: Sequence[Any], smoke: bool) -> Recipe:
    try:
        return load(recipe, overrides, smoke=smoke)
    except RecipeError as error:
        raise RecipeError(f"case {case}: {error}") from error


def _baseline(file: _SweepFile, cases: Mapping[str, Any], path: Path) -> str:
    if file.baseline is None:
        return next(iter(cases))
    if file.baseline not in cases:
        hint = suggest(file.baseline, tuple(cases))
        raise RecipeError(f"{path}: baseline {file.baseline!r} is no case{hint}; cases are {', '.join(cases)}")
    return file.baseline


def _tree(key: str, value: Any) -> _Tree:
    first, dot, rest = key.partition(".")
    return {first: _tree(rest, value) if dot else value}


def _flat(trees: Iterable[_Tree], prefix: str = "") -> _Tree:
    """Return the settings of tables by dotted name; later tables win."""
    flat: _Tree = {}
    for tree in trees:
        for key, value in tree.items():
            flat |= _flat([value], f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
