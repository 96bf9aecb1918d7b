"""Texts for customers in their language: one sentence for each decision, with numbers, dates and money as Babel formats them.

The texts are gettext catalogs in locale/ (config/translations.py reads them). Amounts of money have no currency sign: they
are in the fleet's one currency.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_decimal

from config.catalogue import Catalogue, PartItem, SlotItem
from config.fleet import Customer
from config.translations import load_translations
from star.analyse import DAYS_MAX, Forecast
from star.react import ReactionType
from star.times import utc

LOCALE_DIR = Path(__file__).parent / "locale"
"""Folder of the catalogs."""
TIME_ZONES_CACHED = 4096
"""Zones kept: more than the IANA database has."""

_WHOLE_NUMBERS_FROM = 100
"""Absolute value from which a number is shown without decimals."""
_DUE_NOW_DAYS = 0.5
"""Median days to service below which a part is due now."""
_EMPTY_DAYS = 0.25
"""Median days to empty below which a slot is as good as empty."""
_TITLES = {
    ReactionType.OFFER_MADE: "title_offer",
    ReactionType.REMINDER_SENT: "title_reminder",
    ReactionType.ADVICE_GIVEN: "title_advice",
    ReactionType.MAINTENANCE_BOOKED: "title_booking",
}


def translate(language: str, key: str, **figures: str) -> str:
    """The text of `key` with its figures, which are formatted already. Raises KeyError for an unknown key."""
    return load_translations(LOCALE_DIR, language)(key, **figures)


@lru_cache(maxsize=8)
def _locale(language: str) -> Locale:
    return Locale(language)


def format_number(value: float, language: str, decimals: int = 1) -> str:
    """A number with at most `decimals` decimals; without any from 100 on."""
    pattern = "#,##0" if abs(value) >= _WHOLE_NUMBERS_FROM or decimals == 0 else "#,##0." + "#" * decimals
    return str(format_decimal(value, format=pattern, locale=_locale(language)))


def format_money(value: float, language: str) -> str:
    """An amount with two decimals."""
    return str(format_decimal(value, format="#,##0.00", locale=_locale(language)))


@lru_cache(maxsize=TIME_ZONES_CACHED)
def time_zone(name: str) -> ZoneInfo:
    """The IANA time zone of this name."""
    return ZoneInfo(name)


def format_moment(at_ms: int, customer: Customer) -> str:
    """Day and time in the customer's time zone and language."""
    local: datetime = utc(at_ms).astimezone(time_zone(customer.timezone))
    return str(format_datetime(local, format="d MMM, HH:mm", locale=_locale(customer.language)))


def item_label(item: SlotItem | PartItem, catalogue: Catalogue, language: str) -> str:
    """The item's name for customers: its profile's label, and its own name where that label stands for any slot."""
    label = item.label.get(language) or item.label.get("en") or item.name
    profile = catalogue.profiles.get(item.profile)
    named = profile is None or item.name in profile.slots or item.name in profile.parts
    text = label if named else f"{label} “{item.name}”"
    return text[:1].upper() + text[1:]


def remaining_text(item: SlotItem | PartItem, catalogue: Catalogue, language: str, forecast: Forecast | None) -> str:
    """How long the item lasts, as the beginning of a sentence."""
    figures = {"label": item_label(item, catalogue, language), "device": item.device}
    if forecast is None:
        return translate(language, "unknown", **figures)
    low, middle, high = forecast.days[1], forecast.days[4], forecast.days[7]
    if isinstance(item, PartItem):
        key = "due_now" if middle < _DUE_NOW_DAYS else "due"
        return translate(language, key, middle=format_number(middle, language), **figures)
    if middle < _EMPTY_DAYS:
        return translate(language, "empty", **figures)
    shown = {"low": low, "middle": middle, "high": high}
    texts = {name: (format_number(days, language) if days < DAYS_MAX else "3650+") for name, days in shown.items()}
    return translate(language, "lasts", **texts, **figures)


def quantity_text(quantity: float, item: SlotItem | PartItem, language: str) -> str:
    """A quantity with its unit; of a part, its service."""
    if isinstance(item, PartItem):
        return translate(language, "service")
    return f"{format_number(quantity, language)} {item.unit}".strip()


def contact_title(kind: ReactionType, label: str, language: str) -> str:
    """Title of a contact about the item with this label."""
    return translate(language, _TITLES.get(kind, "title_other"), label=label)


def contact_link(url: str, language: str) -> str:
    """The line of a contact that says where to answer."""
    return translate(language, "answer_here", link=url)
