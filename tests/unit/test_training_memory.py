"""Training asks for huge pages, so that a step does not fault in page by page what the last one gave back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from featherbit.train._memory import VARIABLE, ask_for_huge_pages

POLICY = Path("/sys/kernel/mm/transparent_hugepage/enabled")
COUNT_FAULTS = """
import resource, torch
from featherbit import recipes, train
from featherbit.train._memory import ask_for_huge_pages
recipes.load("digits-mlp")  # nothing before `fit` may allocate a tensor, or torch has read the variable already
ask_for_huge_pages()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.empty(40 * 2**20, dtype=torch.uint8).fill_(1)
step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(
    not POLICY.exists() or "[never]" in POLICY.read_text(), reason="this system has no transparent huge pages"
)
def test_a_large_tensor_costs_few_page_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    run = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 5 * 10240 / 3  # 5 tensors of 10,240 pages of 4 KiB


def test_the_user_may_decline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    ask_for_huge_pages()
    assert os.environ[VARIABLE] == "0"
