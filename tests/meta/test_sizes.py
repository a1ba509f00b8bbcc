"""Files and functions stay small, and a file's name says its concept."""

from __future__ import annotations

from pathlib import Path

import pytest

from house import ROOT, body_lines, functions, python_files, source_files

MOST_FILE_LINES = 600
MOST_BODY_LINES = 60
USUAL_BODY_LINES = 25
DUMPING_GROUNDS = {"util", "utils", "helper", "helpers", "common", "misc", "stuff", "tools", "functions"}


def test_no_file_is_longer_than_600_lines() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in source_files()
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_FILE_LINES} == {}


def test_no_function_body_is_longer_than_60_lines() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}": body_lines(function)
        for path in python_files("src", "tests", "examples")
        for function in functions(path)
        if body_lines(function) > MOST_BODY_LINES
    }
    assert long == {}


def test_nine_function_bodies_in_ten_have_at_most_25_lines() -> None:
    lengths = [body_lines(function) for path in python_files("src") for function in functions(path)]
    assert sum(lines <= USUAL_BODY_LINES for lines in lengths) >= 0.9 * len(lengths)


def test_no_file_is_a_dumping_ground() -> None:
    names = {str(path.relative_to(ROOT)) for path in source_files() if path.stem.strip("_") in DUMPING_GROUNDS}
    assert names == set()


@pytest.mark.parametrize(("lines", "expected"), [(1, 1), (61, 61)])
def test_the_measure_of_a_body_counts_lines_and_skips_the_docstring(tmp_path: Path, lines: int, expected: int) -> None:
    path = tmp_path / "long.py"
    path.write_text('def f():\n    """Say."""\n' + "    x = 1\n" * lines, encoding="utf-8")
    assert [body_lines(function) for function in functions(path)] == [expected]
