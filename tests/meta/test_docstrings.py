"""Whatever is public says what it does, in a first line of at most 80 characters."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from house import FUNCTIONS, ROOT, python_files

FIRST_LINE = 80
EXEMPT = {"override", "overload", "setter"}  # documented by the base class, the implementation, the getter
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef | ast.Module


def public_definitions(path: Path) -> Iterator[tuple[str, Documented]]:
    """Yield a file's module, public functions, classes and their public methods, each with its name."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    yield "the module", module
    for node in module.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and is_public(node):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                methods = [child for child in node.body if isinstance(child, FUNCTIONS) and is_public(child)]
                yield from ((f"{node.name}.{method.name}", method) for method in methods)


def is_public(node: Function | ast.ClassDef) -> bool:
    """Say whether a definition is public and not documented elsewhere."""
    decorators = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return not node.name.startswith("_") and not decorators & EXEMPT


def faults(path: Path) -> list[str]:
    """Return what is missing or too long in a file's docstrings."""
    found = []
    for name, node in public_definitions(path):
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        if not first:
            found.append(f"{name}: no docstring")
        elif len(first) > FIRST_LINE and not isinstance(node, ast.Module):
            found.append(f"{name}: the first line has {len(first)} characters, at most {FIRST_LINE} are allowed")
    return found


def test_everything_public_has_a_docstring_with_a_short_first_line() -> None:
    by_file = {str(path.relative_to(ROOT)): faults(path) for path in python_files("src")}
    assert {path: found for path, found in by_file.items() if found} == {}


def test_a_missing_docstring_is_found(tmp_path: Path) -> None:
    path = tmp_path / "bare.py"
    path.write_text(
        '"""Module."""\ndef f(): ...\nclass C:\n    """Class."""\n    def m(self): ...\n    def _p(self): ...\n',
        encoding="utf-8",
    )
    assert faults(path) == ["f: no docstring", "C.m: no docstring"]
