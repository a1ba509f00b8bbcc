"""The README tells the truth: its commands exist, its example is a file that a test runs, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from house import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 80  # one screen, the example included
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def code_blocks(language: str) -> list[str]:
    """Return the README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def make_targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_its_first_two_commands_are_make_demo_and_make_test() -> None:
    commands = [line.partition("#")[0].strip() for line in code_blocks("bash")[0].splitlines()]
    assert commands[:2] == ["make demo", "make test"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_command_in_a_document_is_a_target(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE)) - make_targets() == set()


def test_every_featherbit_command_in_it_is_a_verb() -> None:
    from featherbit.cli._app import app

    verbs = {command.name for command in app.registered_commands}
    assert set(re.findall(r"`featherbit ([a-z]+)", README)) - verbs == set()


def test_its_example_is_the_file_that_a_test_runs() -> None:
    assert code_blocks("python") == [(ROOT / "examples" / "train_pack_run.py").read_text(encoding="utf-8")]


def test_it_fits_a_screen() -> None:
    assert len(README.splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_map_names_every_part() -> None:
    parts = {path.name for path in (ROOT / "src" / "featherbit").iterdir() if (path / "__init__.py").exists()}
    assert {part for part in parts if f"{part}/" not in README} == set()
