"""The order of the documentation's sections on the site: a hook of mkdocs.

Pages come from the folders as they are, so that a new page needs no entry anywhere but in docs/README.md; only the order of the
sections, which the alphabet gets wrong, is said here. A folder that is not named comes last.
"""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation, Section

SECTIONS = ("Tutorial", "How to", "Reference", "Explanation", "Extend", "Internals", "Decisions")


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Puts the front page first and the sections in their order."""
    nav.items.sort(key=lambda item: place(item.title) if isinstance(item, Section) else -1)
    return nav


def place(title: str) -> int:
    """Where a section comes; those not named, last."""
    return SECTIONS.index(title) if title in SECTIONS else len(SECTIONS)
