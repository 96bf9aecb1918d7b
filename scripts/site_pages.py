"""The documentation's pages on the site, as hooks of mkdocs: their order, and Markdown as the repository's host reads it.

Pages come from the folders as they are, so that a new page needs no entry anywhere but in docs/README.md; only the order of the
sections, which the alphabet gets wrong, is said here. A folder that is not named comes last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

SECTIONS = ("Tutorial", "How to", "Reference", "Explanation", "Extend", "Internals", "Decisions")
_ITEM = re.compile(r"(?:- |\d+\. )")


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Puts the front page first and the sections in their order."""
    nav.items.sort(key=lambda item: place(item.title) if isinstance(item, Section) else -1)
    return nav


def place(title: str) -> int:
    """Where a section comes; those not named, last."""
    return SECTIONS.index(title) if title in SECTIONS else len(SECTIONS)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Puts an empty line before each list and table: CommonMark needs none behind a paragraph, Python-Markdown does."""
    return "\n".join(apart(markdown.split("\n")))


def apart(lines: list[str]) -> Iterator[str]:
    """The lines, with an empty one before a list or a table that follows a paragraph or a heading at once."""
    before, fenced = "", False
    for line in lines:
        fenced ^= line.startswith("```")
        if not fenced and before.strip() and begins(line, before):
            yield ""
        yield line
        before = line


def begins(line: str, before: str) -> bool:
    """Whether a list or a table begins with the line; indented lines before it are part of an item."""
    if line.startswith("|"):
        return not before.startswith("|")
    return bool(_ITEM.match(line)) and not _ITEM.match(before) and not before.startswith((" ", "|"))
