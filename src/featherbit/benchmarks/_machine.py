"""Where a figure was measured: machine, commit and the versions of the peers."""

from __future__ import annotations

from importlib import metadata

from ..train._machine import machine, source_commit


def origin() -> dict[str, str]:
    """Return what each row of a result carries beside its figures."""
    source = source_commit()
    dirty = "-dirty" if source["dirty"] else ""
    return {
        "machine": str(machine()["cpu"]),
        "commit": f"{source['commit']}{dirty}" if source["commit"] else f"version {_version('featherbit')}",
        "torch": _version("torch"),
        "onnxruntime": _version("onnxruntime"),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
