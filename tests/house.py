"""What the house-rule tests look at: the repository's root, its sources and the functions in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NATIVE = {".h", ".c", ".cpp"}


def python_files(*folders: str) -> list[Path]:
    """Return the Python files under some folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def source_files() -> list[Path]:
    """Return every Python, C and C++ file that is ours."""
    native = [path for top in ("csrc", "tests") for path in (ROOT / top).rglob("*") if path.suffix in NATIVE]
    return python_files("src", "tests", "examples") + sorted(native)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function of a Python file, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, FUNCTIONS):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function's body has, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
