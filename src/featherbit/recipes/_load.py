"""Find recipes by name, resolve what they extend, apply overrides and validate the whole.

A recipe is a TOML file. `extends = "other"` takes all settings of another one, shipped or in the same folder, and
changes the ones it names. Its `[smoke]` table holds the settings of a run of a few seconds, which tests execute.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ..errors import RecipeError
from ..train import Recipe

_SHIPPED = Path(__file__).parent
_Tree = dict[str, Any]


def names() -> tuple[str, ...]:
    """Return the names of the shipped recipes, sorted."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def load(name_or_path: str | Path, overrides: Iterable[str | Mapping[str, Any]] = (), *, smoke: bool = False) -> Recipe:
    """Return a recipe.

    Args:
        name_or_path: a shipped recipe's name, or the path of a `.toml` file.
        overrides: settings to change, such as `"optimizer.learning_rate=1e-3"`; a value is TOML, or else plain text;
            or tables of settings, as in a recipe's file.
        smoke: whether the recipe's `[smoke]` settings are applied, before the overrides.

    Raises:
        RecipeError: no such recipe, a circle of `extends`, a setting that does not exist or has an impossible value.
    """
    tree = _resolve(_find(name_or_path, Path.cwd()), seen=())
    smoke_tree = tree.pop("smoke", {})
    if smoke:
        tree = _merge(tree, smoke_tree)
    for override in overrides:
        tree = _merge(tree, _parse_override(override) if isinstance(override, str) else dict(override))
    return _validate(tree, str(name_or_path))


def _find(name_or_path: str | Path, folder: Path) -> Path:
    text = str(name_or_path)
    if text in names():
        return _SHIPPED / f"{text}.toml"
    path = folder / text
    if path.is_file():
        return path.resolve()
    hint = suggest(text, names())
    raise RecipeError(f"no recipe {text!r}{hint}; shipped are {', '.join(names())}, or give the path of a .toml file")


def _resolve(path: Path, seen: tuple[Path, ...]) -> _Tree:
    if path in seen:
        circle = " -> ".join(p.stem for p in (*seen[seen.index(path) :], path))
        raise RecipeError(f"{path}: recipes extend each other in a circle: {circle}")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as TOML: {error}") from error
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise RecipeError(f"{path}: extends must be the name of a recipe, got {parent!r}")
    return _merge(_resolve(_find(parent, path.parent), (*seen, path)), tree)


def _merge(base: _Tree, changes: _Tree) -> _Tree:
    """Return `base` with `changes`, table by table; data of another kind replace it."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _other_kind(key, old, value):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _other_kind(key: str, old: _Tree, new: _Tree) -> bool:
    return key in _tables_of_kinds() and new.get("kind", old.get("kind")) != old.get("kind")


def _parse_override(override: str) -> _Tree:
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise RecipeError(f"an override reads key=value, got {override!r}")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # so that strings need no quotes
    for part in reversed(parts):
        value = {part: value}
    tree: _Tree = value
    return tree


def _validate(tree: _Tree, source: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise RecipeError(f"{source}: {problems}") from error


def _explain(problem: Any) -> str:
    # pydantic puts the kind of a table that has several into the location: data.mnist.path is data.path
    location = list(problem["loc"])
    if len(location) > 2 and location[0] in _tables_of_kinds():
        del location[1]
    key = ".".join(map(str, location))
    if problem["type"] == "extra_forbidden" and key in _keys(Recipe):
        return f"{key} is a setting of another {location[0]}.kind"
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {key}{suggest(key, tuple(_keys(Recipe)))}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    return f"{key}: {problem['msg']}, got {problem['input']!r}"


def suggest(word: str, known: tuple[str, ...]) -> str:
    """Return a question about the known word most like an unknown one.

    Empty if none is like it.
    """
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of every setting there is."""
    for name, field in model.model_fields.items():
        tables = _tables(field.annotation)
        if not tables:
            yield prefix + name
        for table in tables:
            yield from _keys(table, f"{prefix}{name}.")


def _tables(annotation: Any) -> list[type[BaseModel]]:
    options = get_args(annotation) or (annotation,)
    return [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]


def _tables_of_kinds() -> set[str]:
    return {name for name, field in Recipe.model_fields.items() if len(_tables(field.annotation)) > 1}
