"""The command line: `featherbit train sweep evaluate pack run explain bench recipes kernels demo`.

One file per verb: parse, one call, print. What a verb needs is imported when it runs, so that `featherbit run` starts
without torch.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the console script calls this."""
    try:
        from ._app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"error: {error.name} is not installed; the command line needs: pip install 'featherbit[train]'")
    app()
