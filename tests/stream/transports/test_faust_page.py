"""docs/internals/faust.md names every method that Starloop overrides, and tests that exist."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.transports import faust_overrides

PAGE = (Path(__file__).parents[3] / "docs" / "internals" / "faust.md").read_text(encoding="utf-8")
TESTS = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
UPSTREAM = ("faust", "mode")
OF_EVERY_CLASS = {"_abc_impl", "logger", "Consumer", "Producer", "driver_version"}
"""What Python and mode give each class, and what each transport's class has to name."""


def overridden() -> Iterator[tuple[str, str]]:
    """Each method or class attribute of ours that a class of Faust or mode has too: (our class, its name)."""
    for module in pkgutil.iter_modules(faust_overrides.__path__, f"{faust_overrides.__name__}."):
        for name, ours in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if ours.__module__ != module.name:
                continue
            theirs = [base for base in ours.__mro__ if base.__module__.split(".")[0] in UPSTREAM]
            for member in vars(ours):
                special = member.startswith("__") and member not in ("__setitem__",)
                if not special and any(member in vars(base) for base in theirs):
                    yield name, member


def test_every_overridden_method_is_on_the_page() -> None:
    """A new override gets a row, with its reason, its upstream issue and its test."""
    found = set(overridden())
    assert len(found) > 40
    unexplained = {pair for pair in found if not re.search(rf"`(\w+\.)*{pair[1]}`", PAGE)}
    assert {pair for pair in unexplained if pair[1] not in OF_EVERY_CLASS} == set()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_every_test_that_the_page_names_exists(name: str) -> None:
    """So that a mended behaviour is found where the page says."""
    assert f"def {name}(" in TESTS or (Path(__file__).parent / f"{name}.py").is_file()


def test_every_upstream_test_is_named_on_the_page() -> None:
    """A test of upstream's behaviour belongs to a row."""
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    upstream = (Path(__file__).parent / "test_faust_upstream.py").read_text(encoding="utf-8")
    assert set(re.findall(r"def (test_\w+)\(", upstream)) <= named
