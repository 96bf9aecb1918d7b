"""Texts in the languages of customers: gettext catalogs, read by Babel.

A room with texts has a folder `locale/` with

- `messages.pot`: every text in English. `msgctxt` is the key that code and templates use, `msgid` the English text
  (`msgid_plural` beside it where a number `n` decides between two);
- `<language>.po`: the same entries with their translation, made from the template by any gettext tool (Poedit, Weblate,
  msgmerge). An entry that is not translated, or marked fuzzy, is shown in English.

A new language is one more file here, and its code in config.fleet.Customer. The catalogs are read as they are: there is
nothing to compile.
"""

from __future__ import annotations

import gettext
from collections.abc import Set as AbstractSet
from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

SOURCE_LANGUAGE = "en"
"""The language of the msgids."""
TEMPLATE_FILE = "messages.pot"


class Translations:
    """The texts of one folder in one language, called with a key and the values of its {fields}."""

    def __init__(self, folder: Path, language: str) -> None:
        self.language = language
        self._sources: dict[str, str | tuple[str, str]] = {
            message.context: message.id  # type: ignore[misc]  # a message with a plural form has a pair of ids
            for message in _read(folder / TEMPLATE_FILE, SOURCE_LANGUAGE)
            if message.context
        }
        self._catalog = gettext.NullTranslations()
        if language != SOURCE_LANGUAGE:
            compiled = BytesIO()
            write_mo(compiled, _read(folder / f"{language}.po", language))
            compiled.seek(0)
            self._catalog = gettext.GNUTranslations(compiled)

    def __call__(self, key: str, **values: object) -> str:
        """The text of `key` with its fields filled in. Raises KeyError for an unknown key or a missing value."""
        source = self._sources[key]
        if isinstance(source, str):
            text = self._catalog.pgettext(key, source)
        else:
            count = values["n"]
            if not isinstance(count, int):
                raise TypeError(f"the text {key!r} counts {count!r}: expected an integer")
            text = self._catalog.npgettext(key, *source, count)
        return text.format(**values) if values else text

    def get(self, key: str, default: str) -> str:
        """The text of a key that is made of data, or `default` where there is none."""
        return self(key) if key in self._sources else default

    @property
    def known_keys(self) -> AbstractSet[str]:
        """Every key that has a text."""
        return self._sources.keys()


@cache
def load_translations(folder: Path, language: str) -> Translations:
    """The texts of `folder` in `language`; read once a process. Raises FileNotFoundError where there is no catalog."""
    return Translations(folder, language)


def languages(folder: Path) -> tuple[str, ...]:
    """The languages that the texts of `folder` exist in, English first."""
    return (SOURCE_LANGUAGE, *sorted(path.stem for path in folder.glob("*.po")))


def _read(path: Path, language: str) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)
