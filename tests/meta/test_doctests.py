"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import featherbit

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(featherbit.__path__, "featherbit.")
    if not module.name.endswith("._native") and not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, verbose=False)
    assert result.failed == 0


def test_examples_are_found_at_all() -> None:
    assert doctest.testmod(importlib.import_module("featherbit.bits._pack")).attempted >= 3
