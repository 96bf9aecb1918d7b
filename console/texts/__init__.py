"""What the console says, one TOML file a language: text by dotted key, with plural forms where a number is in it.

A key that is missing raises: both files hold the same keys, and a test keeps it so.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from babel import Locale

LANGUAGES = ("en", "fr")


class Texts:
    """The texts of one language. `texts("fleet.title")`; with plural forms `texts("why.tries", n=3)`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._plural = Locale(language).plural_form
        tree = tomllib.loads((Path(__file__).parent / f"{language}.toml").read_text("utf-8"))
        self._by_key = dict(_flat(tree, ""))

    def __call__(self, key: str, **values: Any) -> str:
        found = self._by_key[key]
        text = str(found.get(self._plural(values["n"]), found["other"]) if isinstance(found, dict) else found)
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        """Whether there is a text for this key."""
        return key in self._by_key

    def or_else(self, key: str, otherwise: str) -> str:
        """The text of a key made of data, or `otherwise` for data that the texts do not know."""
        return self(key) if self.has(key) else otherwise

    def known(self) -> frozenset[str]:
        """Every key."""
        return frozenset(self._by_key)


def _flat(tree: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        if isinstance(value, dict) and "other" not in value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, value))
    return found


@cache
def texts(language: str) -> Texts:
    """The texts of `language`, one of LANGUAGES; read once."""
    return Texts(language)
