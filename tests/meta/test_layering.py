"""The runtime stands without torch: importing it pulls in nothing that training needs."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

TRAINING_ONLY = (
    *("torch", "lightning", "lightning_utilities", "tensorboard", "pydantic", "typer", "rich", "pooch"),
    *("sklearn", "scipy", "matplotlib", "PIL", "onnx", "onnxruntime"),
)
TORCH_FREE = ("errors", "bits", "kernels", "ir", "runtime")


def run_python(script: str) -> str:
    """Return what a script prints in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def training_modules_after(statement: str) -> list[str]:
    """Return which training-only packages a fresh interpreter holds after a statement."""
    loaded = "{name.partition('.')[0] for name in sys.modules}"
    return run_python(f"{statement}\nimport sys\nprint(*sorted({loaded} & set({TRAINING_ONLY})))").split()


@pytest.mark.parametrize("part", TORCH_FREE)
def test_a_torch_free_part_pulls_in_nothing_that_training_needs(part: str) -> None:
    assert training_modules_after(f"import featherbit.{part}") == []


def test_the_package_itself_is_lazy() -> None:
    assert training_modules_after("import featherbit") == []


def test_the_tests_above_can_fail() -> None:
    assert "torch" in training_modules_after("import featherbit.runtime, featherbit.layers")


def test_the_runtime_works_where_training_packages_cannot_be_imported() -> None:
    # None in sys.modules makes `import torch` raise ImportError, as if it were not installed.
    block = f"import sys\nsys.modules.update(dict.fromkeys({TRAINING_ONLY}))"
    use = "from featherbit import Session, load, save\nfrom featherbit.kernels import active_isa\nprint(active_isa())"
    assert run_python(f"{block}\n{use}").strip() != ""


def test_importing_the_runtime_is_quick() -> None:
    """The aim is 0.2 s; the best of three on a busy machine gets five times that, the interpreter's start included."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run_python("import featherbit.runtime")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.0
