"""`featherbit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._show import console, table


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, see `featherbit recipes`, or a .toml file.")],
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, such as optimizer.learning_rate=1e-3."),
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run", help="The run folder; runs/RECIPE-seedN unless given.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete what the run folder holds and start over.")
    ] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Apply the recipe's settings for a run of seconds.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train by a recipe; the same command again resumes an interrupted run."""
    from .. import recipes
    from ..train import fit

    resolved = recipes.load(recipe, override or (), smoke=smoke)
    folder = run_dir or Path("runs", f"{resolved.name}-seed{resolved.seed}")
    result = fit(resolved, folder, resume=not restart, progress=not quiet)
    metric = result.measured
    rows = [
        (name, each.epoch + 1, *(metric.text(value) for value in (each.train, each.validation, each.test)))
        for name, each in (("last", result.last), ("selected by validation", result.selected))
    ]
    console().print(table(metric.label, ["checkpoint", ">epoch", ">train", ">validation", ">test"], rows))
    console().print(f"run folder: {folder}; pack it with: featherbit pack {folder}")
