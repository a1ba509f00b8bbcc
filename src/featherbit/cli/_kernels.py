"""`featherbit kernels`."""

from __future__ import annotations

from ._show import console, table


def kernels() -> None:
    """List the instruction sets: compiled, usable on this machine, and the one in use."""
    from ..kernels import active_isa, available_isas, compiled_isas

    active, available = active_isa(), available_isas()
    rows = [
        (name, "yes" if name in available else "no", "in use" if name == active else "") for name in compiled_isas()
    ]
    console().print(table("instruction sets", ["compiled", "available here", ""], rows))
    console().print("FEATHERBIT_FORCE_ISA=NAME chooses another one")
