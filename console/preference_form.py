"""The preference form: from its fields to the tables of a fleet change. Pure.

Mistakes are sentences for the customer. Checks of the fleet's own validation are not repeated here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from config.catalogue import Catalogue
from config.fleet import Customer, Device, Experience
from config.translations import Translations
from config.validators import LANGUAGES, PURPOSES
from console.backend import items_of
from console.forms import form_reader, parse_amount
from star.ids import ItemId

AWAY_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceChange:
    """The tables to change, or the mistakes. lowered: items whose experience was reset, as it was above the customer's."""

    tables: dict[str, Any] = field(default_factory=dict)
    lowered: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()


def form_version(catalogue: Catalogue, customer: Customer) -> str:
    """Version of the data in the form: a form of an older version is not saved."""
    rows = [
        customer.model_dump(mode="json"),
        *(d.model_dump(mode="json") for d in customer_devices(catalogue, customer.id)),
    ]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:16]


def customer_devices(catalogue: Catalogue, customer: str) -> list[Device]:
    """The customer's devices, by id."""
    return sorted((d for d in catalogue.devices.values() if d.customer == customer), key=lambda d: d.id)


def own_experience(catalogue: Catalogue, key: str) -> Experience | None:
    """The item's own experience in the fleet, or None where it follows its customer's."""
    item = ItemId.parse(key)
    row = catalogue.devices[item.device]
    named = row.slots.get(item.name) or row.parts.get(item.name)
    return named.experience if named is not None else None


def parse_preferences(
    catalogue: Catalogue, customer: Customer, form: Mapping[str, Any], texts: Translations
) -> PreferenceChange:
    """The change that a form requests. form: the fields by name, `away_from` and `away_to` as lists."""
    mistakes: list[str] = []

    value = form_reader(form)
    experience = _experience(value("experience"), customer.experience)
    row = {
        "id": customer.id,
        "experience": experience.value,
        "language": value("language") if value("language") in LANGUAGES else customer.language,
        "timezone": _timezone(value("timezone"), texts, mistakes),
        "quiet_hours": _quiet(value("quiet_from"), value("quiet_to"), texts, mistakes),
        "contacts_per_week_max": _whole_number(value("contacts"), texts("prefs.contacts_max"), texts, mistakes),
        "budget_per_month": _money(value("budget"), texts("prefs.budget"), texts, mistakes),
        "channels": [line.strip() for line in value("channels").splitlines() if line.strip()],
        "consents": [
            *(purpose for purpose in PURPOSES if value(f"consent_{purpose}")),
            *(consent for consent in customer.consents if consent not in PURPOSES),
        ],
        "away": _away(form.get("away_from", []), form.get("away_to", []), texts, mistakes),
    }
    if mistakes:
        return PreferenceChange(mistakes=tuple(mistakes))
    devices, lowered = _devices(catalogue, customer, experience, value)
    return PreferenceChange(tables={"customers": [row], **({"devices": devices} if devices else {})}, lowered=lowered)


def _devices(
    catalogue: Catalogue, customer: Customer, most: Experience, value: Callable[[str], str]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """(the devices with changed items, whole; the items that were lowered with the customer's experience)."""
    changed: dict[str, dict[str, Any]] = {}
    lowered: list[str] = []
    for item in items_of(catalogue, {customer.id}):
        before = own_experience(catalogue, item.key)
        wanted = _item_experience(value(f"item:{item.key}"), before)
        if wanted is not None and wanted.rank > most.rank:
            lowered.append(item.key)
            wanted = None
        if wanted == before:
            continue
        device = catalogue.devices[item.device]
        row = changed.setdefault(item.device, device.model_dump(mode="json", exclude_unset=True))
        kind = "slots" if item.key in catalogue.slots else "parts"
        entry = row.setdefault(kind, {}).setdefault(item.name, {})
        if wanted is None:
            entry.pop("experience", None)
        else:
            entry["experience"] = wanted.value
    return list(changed.values()), tuple(lowered)


def _experience(text: str, otherwise: Experience) -> Experience:
    return Experience(text) if text in set(Experience) else otherwise


def _item_experience(text: str, otherwise: Experience | None) -> Experience | None:
    if text == "same":
        return None
    return Experience(text) if text in set(Experience) else otherwise


def _timezone(text: str, texts: Translations, mistakes: list[str]) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        mistakes.append(texts("prefs.timezone_unknown", value=text or "–"))
    return text


def _quiet(start: str, end: str, texts: Translations, mistakes: list[str]) -> list[str] | None:
    if bool(start) != bool(end):
        mistakes.append(texts("prefs.quiet_both"))
    return [start, end] if start and end else None


def _whole_number(text: str, name: str, texts: Translations, mistakes: list[str]) -> int | None:
    if text.isdigit():
        return int(text)
    mistakes.append(texts("prefs.number", field=name, value=text or "–"))
    return None


def _money(text: str, name: str, texts: Translations, mistakes: list[str]) -> float | None:
    if not text:
        return None
    try:
        return parse_amount(text)
    except ValueError:
        mistakes.append(texts("prefs.number", field=name, value=text))
        return None


def _away(first: Sequence[Any], last: Sequence[Any], texts: Translations, mistakes: list[str]) -> list[list[str]]:
    kept: list[list[str]] = []
    for begin, end in zip(first, last, strict=False):
        if not begin and not end:
            continue
        if not begin or not end:
            mistakes.append(texts("prefs.away_both"))
        elif end < begin:
            mistakes.append(texts("prefs.away_order", first=begin, last=end))
        else:
            kept.append([str(begin), str(end)])
    return kept[:AWAY_MAX]
