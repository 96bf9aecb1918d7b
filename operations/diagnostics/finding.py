"""Finding: the result of one check, with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FindingState = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of a check: what was checked (`name`), its state, what was found (`said`), and the remedy unless it is ok.

    warn: the service works, but a person should know. fail: the service can't work, or may lose data or miss an objective.
    """

    name: str
    state: FindingState
    said: str
    remedy: str = ""


def ok(name: str, said: str) -> Finding:
    """A check that passed."""
    return Finding(name=name, state="ok", said=said)


def warn(name: str, said: str, remedy: str) -> Finding:
    """A check with a warning."""
    return Finding(name=name, state="warn", said=said, remedy=remedy)


def fail(name: str, said: str, remedy: str) -> Finding:
    """A check that failed."""
    return Finding(name=name, state="fail", said=said, remedy=remedy)
