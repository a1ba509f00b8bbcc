"""`docs/format.md` speaks of every op, field and error code that there is."""

from __future__ import annotations

import re

from featherbit.errors import FileErrorCode
from featherbit.ir import OPS
from house import ROOT

SPEC = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")


def test_the_spec_lists_every_error_code_once_in_its_table() -> None:
    table = SPEC.partition("## Ways to be wrong")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE)) == sorted(FileErrorCode)


def test_the_spec_uses_each_error_code_where_its_rule_stands() -> None:
    rules = SPEC.partition("## Ways to be wrong")[0]
    about_the_disk = {FileErrorCode.NOT_FOUND, FileErrorCode.UNREADABLE, FileErrorCode.UNWRITABLE}
    assert [code for code in FileErrorCode if f"`{code}`" not in rules and code not in about_the_disk] == []


def test_the_spec_has_a_section_and_all_fields_of_every_op() -> None:
    sections = dict(re.findall(r"^\*\*`(\w+)`\*\*(.*?)(?=^\*\*`|^## )", SPEC, flags=re.MULTILINE | re.DOTALL))
    fields = {op: set(re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE)) for op, text in sections.items()}
    assert fields == {name: set(op.fields) for name, op in OPS.items()}
