"""The run folder: names of its files, atomic writing, and reading a finished or interrupted run back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import torch
from pydantic import ValidationError
from torch import nn

from ..errors import DataError, RecipeError
from ..runtime import Vocabulary
from ._recipe import Recipe

Which = Literal["last", "selected"]
RECIPE = "recipe.json"
RESULT = "result.json"
METRICS = "metrics.csv"
_NOT_COMPUTED = {"name", "description", "expected"}


def checkpoint_path(run_dir: str | Path, which: Which) -> Path:
    """Return where a run keeps its last or its validation-selected checkpoint."""
    return Path(run_dir, "checkpoints", f"{which}.ckpt")


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file so that at any moment the old or the new one is there, whole.

    The data reaches the disk before the name does, so this holds even if the power fails. A killed writer leaves its
    temporary file, which the next one overwrites: a run folder has one writer at a time.

    Args:
        path: the file; its folder is made.
        write: called with a binary file to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def read_recipe(run_dir: str | Path) -> Recipe:
    """Return the recipe that a run folder was made from.

    Raises:
        DataError: no run there, or its recipe is damaged.
    """
    path = Path(run_dir, RECIPE)
    try:
        return Recipe.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{run_dir} is not a run folder: {RECIPE} cannot be read: {error}") from error
    except ValidationError as error:
        raise DataError(f"{path} is damaged or from another version: {error}") from error


def open_run(run_dir: str | Path, recipe: Recipe) -> None:
    """Write the recipe into a new run folder, or compare it with the one there.

    Raises:
        RecipeError: the folder holds a run of another recipe; the message names the changed settings.
    """
    path = Path(run_dir, RECIPE)
    if path.exists():
        changed = changed_settings(read_recipe(run_dir), recipe)
        if changed:
            raise RecipeError(
                f"{run_dir} holds a run of another recipe; changed: {'; '.join(changed)}. "
                "Choose another run folder, take the change back, or start over without resuming"
            )
    write_json(path, recipe.model_dump(mode="json"))


def changed_settings(old: Recipe, new: Recipe) -> list[str]:
    """Return a line like `epochs: 2 -> 3` for each setting that differs and counts."""
    before, after = (_flat(recipe.model_dump(mode="json", exclude=_NOT_COMPUTED)) for recipe in (old, new))
    keys = sorted(before.keys() | after.keys())
    return [
        f"{key}: {before.get(key, 'unset')} -> {after.get(key, 'unset')}"
        for key in keys
        if before.get(key, "unset") != after.get(key, "unset")
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint of this library, on the CPU; no code in the file is run.

    Raises:
        DataError: it is missing, damaged or another program's.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}; train at least one epoch first") from error
    except Exception as error:  # torch raises RuntimeError, UnpicklingError and others for damaged files
        raise DataError(f"{path} is damaged: {error}; delete its run folder and train again") from error
    if not isinstance(checkpoint, dict) or "featherbit" not in checkpoint or "state_dict" not in checkpoint:
        raise DataError(f"{path} is no checkpoint of a featherbit run; delete its run folder and train again")
    return checkpoint


def load_model(run_dir: str | Path, which: Which = "last") -> nn.Module:
    """Return a trained model in eval mode.

    Args:
        run_dir: the folder given to `fit`.
        which: the `"last"` checkpoint, or the one `"selected"` by validation.

    Raises:
        DataError: no such run or checkpoint, or it is damaged.
    """
    recipe = read_recipe(run_dir)
    checkpoint = read_checkpoint(checkpoint_path(run_dir, which))
    with torch.random.fork_rng(devices=[]):  # the fresh weights are thrown away; no caller should notice them
        model = recipe.model.build_for(checkpoint["featherbit"])
    prefix = "model."
    weights = checkpoint["state_dict"].items()
    model.load_state_dict({name.removeprefix(prefix): value for name, value in weights if name.startswith(prefix)})
    return model.eval()


def load_vocabulary(run_dir: str | Path) -> Vocabulary:
    """Return the vocabulary that a language model was trained with.

    Args:
        run_dir: the folder given to `fit`.

    Raises:
        DataError: no such run or checkpoint, it is damaged, or its model is no language model.
    """
    facts = read_checkpoint(checkpoint_path(run_dir, "last"))["featherbit"]
    if "vocabulary" not in facts:
        raise DataError(f"{run_dir} has no vocabulary: its model was trained on images; give a run of a language model")
    return Vocabulary(facts["level"], tuple(facts["vocabulary"]))
