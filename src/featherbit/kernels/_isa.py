"""Which instruction sets (ISAs) the build holds, which this processor runs, and which one is used.

The best available one is used unless the environment variable `FEATHERBIT_FORCE_ISA` names another; a name that is
unknown or that this processor cannot run is an error, never a silent fallback. The variable is read at each look-up.
"""

from __future__ import annotations

import os
from functools import cache

from ..errors import KernelError
from . import _native

FORCE_VARIABLE = "FEATHERBIT_FORCE_ISA"


@cache
def compiled_isas() -> tuple[str, ...]:
    """Return the ISAs that this build holds, best first."""
    return tuple(_native.compiled_isas())


@cache
def available_isas() -> tuple[str, ...]:
    """Return the ISAs that this build holds and this processor runs, best first.

    >>> available_isas()[-1]
    'scalar'
    """
    return tuple(isa for isa in compiled_isas() if _native.isa_supported(isa))


def active_isa() -> str:
    """Return the ISA used where none is asked for.

    Raises:
        KernelError: `FEATHERBIT_FORCE_ISA` names an ISA that is unknown or that this processor cannot run.
    """
    forced = os.environ.get(FORCE_VARIABLE)
    return _check(forced, f"{FORCE_VARIABLE} is ") if forced else available_isas()[0]


def resolve_isa(isa: str | None) -> str:
    """Return `isa` if it is available, or the active one for None.

    Raises:
        KernelError: `isa` is unknown or this processor cannot run it.
    """
    return active_isa() if isa is None else _check(isa, "isa is ")


def _check(isa: str, what: str) -> str:
    if isa in available_isas():
        return isa
    reason = (
        "this processor cannot run it" if isa in compiled_isas() else "there is no such instruction set in this build"
    )
    raise KernelError(f"{what}{isa!r}, but {reason}; use one of {', '.join(available_isas())}")
