"""A finding: one thing that was looked at, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FindingState = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at (`name`), how it is, what was found, and the remedy where it is not ok.

    warn: it runs, but a person should know. fail: the service can't do its work, or may not keep a promise.
    """

    name: str
    state: FindingState
    said: str
    remedy: str = ""


def ok(name: str, said: str) -> Finding:
    """A thing in order."""
    return Finding(name=name, state="ok", said=said)


def warn(name: str, said: str, remedy: str) -> Finding:
    """A thing that a person should know of."""
    return Finding(name=name, state="warn", said=said, remedy=remedy)


def fail(name: str, said: str, remedy: str) -> Finding:
    """A thing that is broken."""
    return Finding(name=name, state="fail", said=said, remedy=remedy)
