"""Save a graph to a file and load it; `docs/format.md` is the spec.

The graph stands as JSON in the metadata of a safetensors file, the arrays are its tensors. All metadata is one string
under one key, because the safetensors library writes several keys in random order and equal graphs must give equal
bytes. Nothing here knows any op: their declared fields say what to write and read.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.numpy
from numpy.typing import NDArray

from ..errors import FileError, FileErrorCode, GraphError
from ._container import parse_json, read_container
from ._graph import Graph
from ._op import OPS, Op

FORMAT_VERSION = 2
"""The version that is written; those from 1 up to it are read."""
_KEY = "featherbit"
_GRAPH_KEYS = {"format_version": int, "ops": list, "output": str}
_OP_KEYS = {"attributes": dict, "inputs": list, "op": str, "output": str, "path": str}


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write a graph to a file: all of it or nothing, and equal graphs as equal bytes.

    Args:
        graph: a packed network.
        path: where to; by custom it ends in `.fbit`. A file that is there is replaced in one step.

    Raises:
        FileError: the file cannot be written; an older one is left as it was.
    """
    _write_atomically(Path(path), _to_bytes(graph))


def load(path: str | os.PathLike[str]) -> Graph:
    """Read a graph from a file, which is mapped into memory.

    While the graph is in use, the file may be replaced, but not written into.

    Args:
        path: a file that `save` wrote.

    Returns:
        The graph; its arrays are read-only views of the file.

    Raises:
        FileError: the file is wrong; its `code` says in which way.
    """
    try:
        return _read(Path(path))
    except FileError as error:
        raise FileError(error.code, f"{os.fspath(path)}: {error.reason}") from error.__cause__
    except GraphError as error:
        raise FileError(error.code, f"{os.fspath(path)}: {error}") from None
    except RecursionError:  # in some Pythons JSON can be read that is too deep to be shown in a message
        reason = f"{os.fspath(path)}: the graph is nested too deeply"
        raise FileError(FileErrorCode.BAD_GRAPH_JSON, reason) from None


def _to_bytes(graph: Graph) -> bytes:
    description = {
        "format_version": FORMAT_VERSION,
        "ops": [
            {
                "attributes": op.json_attributes(),
                "inputs": op.inputs,
                "op": type(op).__name__,
                "output": op.output,
                "path": op.path,
            }
            for op in graph.ops
        ],
        "output": graph.output,
    }
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    tensors = {f"{op.output}.{name}": array for op in graph.ops for name, array in op.arrays().items()}
    return safetensors.numpy.save(tensors, metadata={_KEY: text})


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise FileError(FileErrorCode.UNWRITABLE, f"{path}: the file cannot be written: {error}") from error


def _sync_folder(folder: Path) -> None:
    # The file is in place already: where a folder cannot be opened or synced (Windows, some network disks), it stays.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read(path: Path) -> Graph:
    container = read_container(path)
    if _KEY not in container.metadata:
        raise FileError(FileErrorCode.NOT_FEATHERBIT, f"a safetensors file without the metadata key {_KEY!r}")
    try:
        description = parse_json(container.metadata[_KEY])
    except ValueError as error:
        raise FileError(FileErrorCode.BAD_GRAPH_JSON, f"the graph is not JSON: {error}") from None
    version = _check_version(description)
    _check_keys("the graph", description, _GRAPH_KEYS)
    for place, entry in enumerate(description["ops"]):
        _check_keys(f"op {place}", entry, _OP_KEYS)
    ops = tuple(_read_op(entry, container.tensors, version) for entry in description["ops"])
    extra = set(container.tensors).difference(_tensor_name(op.output, name) for op in ops for name in op.arrays())
    if extra:
        raise FileError(FileErrorCode.EXTRA_TENSOR, f"no op has the tensors {', '.join(sorted(extra))!r:.200}")
    return Graph(ops, description["output"])


def _check_version(description: Any) -> int:
    version = description.get("format_version") if isinstance(description, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        reason = f"this featherbit reads format versions 1 to {FORMAT_VERSION}, got {version!r:.40}"
        raise FileError(FileErrorCode.WRONG_VERSION, f"{reason}; use the featherbit that wrote it")
    return version


def _check_keys(what: str, description: Any, keys: Mapping[str, type]) -> None:
    if not isinstance(description, dict) or set(description) != set(keys):
        raise FileError(FileErrorCode.BAD_GRAPH_JSON, f"{what} must be an object with exactly {', '.join(keys)}")
    for key, kind in keys.items():
        if not isinstance(description[key], kind):
            reason = f"{what}: {key} must be of type {kind.__name__}, got {description[key]!r:.80}"
            raise FileError(FileErrorCode.BAD_GRAPH_JSON, reason)


def _read_op(entry: dict[str, Any], tensors: Mapping[str, NDArray[Any]], version: int) -> Op:
    label = f"{entry['op']} {entry['output']!r}"
    cls = OPS.get(entry["op"])
    if cls is None:
        reason = f"op {label:.200} is unknown; this featherbit knows {', '.join(sorted(OPS))}"
        raise FileError(FileErrorCode.UNKNOWN_OP, reason)
    attributes = cls.attribute_names(version)
    if set(entry["attributes"]) != set(attributes):
        reason = f"{label:.200}: attributes must be exactly {', '.join(attributes) or 'none'}"
        raise FileError(FileErrorCode.BAD_ATTRIBUTE, reason)
    names = {name: _tensor_name(entry["output"], name) for name in cls.array_names()}
    for name in names.values():
        if name not in tensors:
            raise FileError(FileErrorCode.MISSING_TENSOR, f"{label:.200}: there is no tensor {name!r:.200}")
    arrays = {name: tensors[tensor] for name, tensor in names.items()}
    return cls(tuple(entry["inputs"]), entry["output"], entry["path"], **entry["attributes"], **arrays)


def _tensor_name(output: str, field: str) -> str:
    return f"{output}.{field}"
