"""Each instruction set's object file exports one symbol, its table.

An inline function or a template that is compiled for a new CPU and exported would be merged by the linker with the same
function of other files, and old CPUs would run it. Looked at with `nm` in whatever build folder is there.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from house import ROOT

ISA_SOURCES = sorted((ROOT / "csrc" / "isa").glob("*.cpp"))
DEFINED_AND_EXPORTED = set("TDBRVWu")  # text, data, bss, read-only, weak objects, weak symbols, unique
OTHER_BUILDS = {"sanitize", "cross"}  # instrumented, or of a format that this machine's nm may not read


def object_files() -> list[Path]:
    """Return the object files of `csrc/isa/*.cpp` in every build folder."""
    names = {f"{source.name}.o" for source in ISA_SOURCES}
    found = (path for path in (ROOT / "build").rglob("*.cpp.o") if path.name in names and path.parent.name == "isa")
    return sorted(path for path in found if not OTHER_BUILDS & set(path.parts))


def exported(path: Path) -> list[str]:
    """Return the demangled names that an object file defines and exports, weak ones too."""
    listing = ["nm", "--demangle", "--defined-only", str(path)]
    lines = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
    fields = [line.split(maxsplit=2) for line in lines]  # address, kind, name
    return [field[2] for field in fields if len(field) == 3 and field[1] in DEFINED_AND_EXPORTED]


def test_an_isa_object_file_exports_its_table_alone() -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    paths = object_files()
    if not paths:
        pytest.skip("no build folder: the native module was built elsewhere")
    counts = {str(path.relative_to(ROOT)): exported(path) for path in paths}
    assert {path: names for path, names in counts.items() if len(names) != 1} == {}


def test_an_exported_inline_function_is_found(tmp_path: Path) -> None:
    compiler = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if compiler is None or shutil.which("nm") is None:
        pytest.skip("no compiler or no nm")
    source = tmp_path / "leak.cpp"
    source.write_text("inline int leaked(int x) { return x + 1; }\nint (*table)(int) = &leaked;\n", encoding="utf-8")
    subprocess.run([compiler, "-c", str(source), "-o", str(tmp_path / "leak.o")], check=True)
    assert sorted(exported(tmp_path / "leak.o")) == ["leaked(int)", "table"]
