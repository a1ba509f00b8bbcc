"""featherbit: train neural networks with very few bits and run them bit-exactly with bit operations.

Importing this package imports nothing heavy: `featherbit.Session` and its friends are looked up on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bits import BitFormat as BitFormat
    from .errors import FeatherbitError as FeatherbitError
    from .ir import Graph as Graph
    from .ir import load as load
    from .ir import save as save
    from .runtime import Session as Session

__version__ = "0.1.0"

_HOME = {
    "BitFormat": "bits",
    "FeatherbitError": "errors",
    "Graph": "ir",
    "Session": "runtime",
    "load": "ir",
    "save": "ir",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
