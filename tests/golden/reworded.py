"""Every text whose wording changed on purpose since the goldens were recorded: (what it was, what it is), as regular expressions.

Only sentences for people belong here. Figures, names, ids and the order of things are held to the byte.
"""

from __future__ import annotations

import re

REWORDED: tuple[tuple[str, str], ...] = ()


def as_worded_now(recorded: str) -> str:
    """A recorded text with today's wording."""
    for was, now in REWORDED:
        recorded = re.sub(was, now, recorded)
    return recorded
