"""A guess at what was meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

NAMES_LISTED_MAX = 40
"""How many names a message lists before it says "and others"."""


NAMES_COMPARED_MAX = 2_000
"""Among more names than this no near one is looked for: it would take longer than finding it by eye."""


def did_you_mean(given: str, known: Collection[str]) -> str:
    """` (did you mean "…"?)`, or nothing where nothing is near."""
    if len(known) > NAMES_COMPARED_MAX:
        return ""
    close = get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


def list_names(known: Iterable[str]) -> str:
    """The names, in order, cut short where there are many."""
    names = sorted(known)
    listed = ", ".join(names[:NAMES_LISTED_MAX])
    return f"{listed} and others" if len(names) > NAMES_LISTED_MAX else listed or "none"
