"""MkDocs hooks of the documentation site: order of the sections, and Markdown as repository hosts render it.

Pages are found in the folders, so that a new page needs an entry in docs/README.md only. The order of the sections is set here, as it
is not alphabetical; a folder that is not listed comes last.
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
    """Sorts the front page first, then the sections."""
    nav.items.sort(key=lambda item: place(item.title) if isinstance(item, Section) else -1)
    return nav


def place(title: str) -> int:
    """Index of a section; unlisted sections are last."""
    return SECTIONS.index(title) if title in SECTIONS else len(SECTIONS)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Inserts an empty line before lists and tables, which Python-Markdown needs after a paragraph and CommonMark does not."""
    return "\n".join(separate_blocks(markdown.split("\n")))


def separate_blocks(lines: list[str]) -> Iterator[str]:
    """The lines, with an empty line before a list or table that follows other text."""
    before, fenced = "", False
    for line in lines:
        fenced ^= line.startswith("```")
        if not fenced and before.strip() and starts_block(line, before):
            yield ""
        yield line
        before = line


def starts_block(line: str, before: str) -> bool:
    """Whether a list or table starts with the line. An indented line before it belongs to the previous list item."""
    if line.startswith("|"):
        return not before.startswith("|")
    return bool(_ITEM.match(line)) and not _ITEM.match(before) and not before.startswith((" ", "|"))
