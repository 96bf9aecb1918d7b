"""The console's texts by key: gettext catalogs in console/locale/, read by config.translations."""

from __future__ import annotations

from pathlib import Path

from config.translations import Translations, languages, load_translations

LOCALE_DIR = Path(__file__).parent / "locale"
LANGUAGES = languages(LOCALE_DIR)


def texts(language: str) -> Translations:
    """The texts of `language`, one of LANGUAGES."""
    return load_translations(LOCALE_DIR, language)
