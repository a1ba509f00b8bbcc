"""How every verb prints: consoles, tables and sizes.

Rich's markup is off: a kernel named `gemm_u1u1 [avx2]` or a path with brackets is text, not a style.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

_WIDTH_OF_PIPES = 160  # Rich takes 80 where there is no terminal, and cuts tables


def console() -> Console:
    """Return a console on standard output, made anew so that redirection is seen."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_PIPES, markup=False, highlight=False)


def error_console() -> Console:
    """Return a console on standard error; a long message stays one line in a log."""
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table; columns whose name starts with `>` are aligned to the right.

    Args:
        title: above the table; empty for none.
        columns: names.
        rows: one value per column, shown by `str`; None is shown as nothing.
    """
    made = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE, pad_edge=False)
    for column in columns:
        made.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        made.add_row(*("" if value is None else str(value) for value in row))
    return made


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; yield what is called with (done, in all) to move it.

    Args:
        what: is counted.
        total: how many there are.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    screen = console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def bytes_text(count: int) -> str:
    """Return a number of bytes in units of 1000.

    >>> bytes_text(999), bytes_text(4_712_345)
    ('999 B', '4.71 MB')
    """
    size, power = float(count), 0
    while size >= 1000 and power < 3:
        size, power = size / 1000, power + 1
    return f"{size:.2f} {'kMG'[power - 1]}B" if power else f"{count} B"


def milliseconds_text(ms: float) -> str:
    """Return a duration with three significant digits.

    >>> milliseconds_text(0.01234), milliseconds_text(1234.5)
    ('0.0123 ms', '1,234 ms')
    """
    return f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.3g} ms"
