"""The Typer application: its verbs, and what happens when one fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import FeatherbitError
from . import _bench, _demo, _evaluate, _explain, _kernels, _pack, _recipes, _run, _sweep, _text, _train
from ._show import error_console

_REFUSED = 2  # the same as for an unknown option
_INTERRUPTED = 130  # the shell's status of a program ended by Ctrl-C


class _Verbs(TyperGroup):
    """Turns an error of ours into one line, and Ctrl-C into its status; a bug keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FeatherbitError as error:
            error_console().print(f"error: {error}", style="bold red")
            raise typer.Exit(_REFUSED) from None
        except KeyboardInterrupt:
            error_console().print("interrupted", style="bold red")
            raise typer.Exit(_INTERRUPTED) from None


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train neural networks with very few bits and run them bit-exactly with bit operations.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"featherbit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Take the options that stand before a verb."""


_VERBS: tuple[Callable[..., None], ...] = (
    _train.train,
    _sweep.sweep,
    _evaluate.evaluate,
    _pack.pack,
    _run.run,
    _text.generate,
    _text.score,
    _explain.explain,
    _bench.bench,
    _recipes.recipes,
    _kernels.kernels,
    _demo.demo,
)
for _verb in _VERBS:
    app.command(_verb.__name__)(_verb)
