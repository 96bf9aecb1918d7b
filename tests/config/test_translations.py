"""Texts: catalogs as translators' tools write them are read, and what is not translated is shown in English."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.pofile import PoFileError, read_po

import config
from config.translations import TEMPLATE_FILE, Translations, languages

CATALOGS = sorted(Path(config.__file__).parents[1].glob("*/locale/*.po"))
"""Every translation that ships."""
TEMPLATE = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"

#, python-brace-format
msgctxt "hello"
msgid "Hello {name}"
msgstr ""

msgctxt "bye"
msgid "Bye"
msgstr ""

msgctxt "days"
msgid "{n} day"
msgid_plural "{n} days"
msgstr[0] ""
msgstr[1] ""
"""
FRENCH = (
    TEMPLATE.replace(
        '"Content-Type', '"Language: fr\\n"\n"Plural-Forms: nplurals=2; plural=(n > 1);\\n"\n"Content-Type'
    )
    .replace('"Hello {name}"\nmsgstr ""', '"Hello {name}"\nmsgstr "Bonjour {name}"')
    .replace('msgstr[0] ""', 'msgstr[0] "{n} jour"')
    .replace('msgstr[1] ""', 'msgstr[1] "{n} jours"')
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of catalogs with one text that is not translated."""
    (tmp_path / "messages.pot").write_text(TEMPLATE)
    (tmp_path / "fr.po").write_text(FRENCH)
    return tmp_path


def test_texts_are_found_by_key_in_each_language(folder: Path) -> None:
    """English comes from the template, the others from their catalogs."""
    assert languages(folder) == ("en", "fr")
    assert Translations(folder, "en")("hello", name="Ada") == "Hello Ada"
    assert Translations(folder, "fr")("hello", name="Ada") == "Bonjour Ada"


def test_plural_forms_follow_the_catalogs_rule(folder: Path) -> None:
    """Zero is plural in English and singular in French; a count that is no integer is a mistake of the caller."""
    assert [Translations(folder, "en")("days", n=n) for n in (0, 1, 2)] == ["0 days", "1 day", "2 days"]
    assert [Translations(folder, "fr")("days", n=n) for n in (0, 1, 2)] == ["0 jour", "1 jour", "2 jours"]
    with pytest.raises(TypeError, match="expected an integer"):
        Translations(folder, "fr")("days", n="2")


def test_a_text_without_a_finished_translation_is_english(folder: Path) -> None:
    """Untranslated or fuzzy, as the tools mark a guess."""
    assert Translations(folder, "fr")("bye") == "Bye"
    (folder / "fr.po").write_text(
        FRENCH.replace('#, python-brace-format\nmsgctxt "hello"', '#, fuzzy\nmsgctxt "hello"')
    )
    assert Translations(folder, "fr")("hello", name="Ada") == "Hello Ada"


def test_an_unknown_key_is_an_error_or_a_default(folder: Path) -> None:
    """Keys of code must exist; keys made of data may not."""
    french = Translations(folder, "fr")
    with pytest.raises(KeyError):
        french("gone")
    assert french.get("gone", "default") == "default"
    assert french.known_keys == {"hello", "bye", "days"}


def test_a_damaged_catalog_is_refused(folder: Path) -> None:
    """Not half read."""
    (folder / "fr.po").write_text(FRENCH + '\nmsgctxt "x"\nmsgid "never closed\n')
    with pytest.raises(PoFileError):
        Translations(folder, "fr")


def catalog(path: Path) -> dict[str, Message]:
    """The messages of a catalog by key."""
    with path.open("rb") as file:
        return {message.context: message for message in read_po(file) if message.context}


def fields(texts: str | Sequence[str]) -> set[str]:
    """The {fields} of a text or of its plural forms."""
    return set(re.findall(r"\{(\w+)\}", texts if isinstance(texts, str) else " ".join(texts)))


@pytest.mark.parametrize("path", CATALOGS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_text_is_translated_with_the_same_fields(path: Path) -> None:
    """The same keys and English texts as the template, none fuzzy or empty, and the same {fields}."""
    template, translated = catalog(path.with_name(TEMPLATE_FILE)), catalog(path)
    assert {key: message.id for key, message in template.items()} == {
        key: message.id for key, message in translated.items()
    }
    for key, message in translated.items():
        assert not message.fuzzy, key
        assert all([message.string] if isinstance(message.string, str) else message.string), key
        assert fields(message.id) == fields(message.string), key
