"""`featherbit recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from ._show import console, table


def recipes(
    name: Annotated[str | None, typer.Argument(help="Show this recipe with all its settings.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting before it is shown.")
    ] = None,
) -> None:
    """List the recipes, or show one with all its settings resolved."""
    from .. import recipes as library

    if name is not None:
        console().print_json(library.load(name, override or ()).model_dump_json(indent=2))
        return
    known = [library.load(each) for each in library.names()]
    rows = [(r.name, r.description, r.epochs, r.expected.figure, r.expected.source) for r in known]
    console().print(table("recipes", ["name", "description", ">epochs", ">expected test", "source"], rows))
