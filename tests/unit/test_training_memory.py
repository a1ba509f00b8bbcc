"""Training keeps freed memory, so that a step does not fault in pages that the last one gave back."""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys, torch
from featherbit.train._memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.empty(40 * 2**20, dtype=torch.uint8).fill_(1)  # above the size that glibc returns at once
step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


def faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", COUNT_FAULTS, mode], capture_output=True, text=True, timeout=120)
    if run.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert run.returncode == 0, run.stderr
    return int(run.stdout)


def test_a_kept_block_is_not_faulted_in_again() -> None:
    pages = 40 * 2**20 // 4096
    assert faults("keep") < pages / 10
    assert faults("return") > faults("keep")
