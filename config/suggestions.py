"""Suggestions for names that are not known."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

NAMES_LISTED_MAX = 40
"""Most names that a message lists; of more it lists these and "and others"."""
NAMES_COMPARED_MAX = 2_000
"""Most names to search for a similar one: a search in 2,000 took 0.2 s, and every mistake of a file may cost one."""


def did_you_mean(given: str, known: Collection[str]) -> str:
    """` (did you mean "…"?)`, or an empty text where no name is similar."""
    if len(known) > NAMES_COMPARED_MAX:
        return ""
    close = get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


def list_names(known: Iterable[str]) -> str:
    """The names in order, cut short where there are many."""
    names = sorted(known)
    listed = ", ".join(names[:NAMES_LISTED_MAX])
    return f"{listed} and others" if len(names) > NAMES_LISTED_MAX else listed or "none"
