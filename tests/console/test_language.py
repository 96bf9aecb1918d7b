"""English and French: the same texts in both, and numbers and dates as each reads them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import console
from config.fleet import Experience
from console.display_names import item_title, type_key
from console.formatting import Formatter
from console.texts import texts
from star.react import ReactionType
from star.repeat import RESULTS, NeedState
from star.times import DAY_MS, HOUR_MS
from tests.support.console.sample_fleet import NOW_MS, catalogue_of

ROOM = Path(console.__file__).parent
MADE = (
    *(f"item.{timing}" for timing in ("early", "right", "late")),
    *(f"prefs.{name}" for name in ("auto", "coach", "offer", "respond", "replenishment", "maintenance")),
    *(f"why.{name}" for name in ("sent", "waiting", "given_up", "targets.mqtt")),
)
"""Texts whose key a template puts together."""


def test_every_text_that_a_page_asks_for_exists() -> None:
    """Keys written in templates and code are keys of the texts."""
    known = texts("en").known_keys
    asked: set[str] = set()
    for path in [*ROOM.rglob("*.html"), *ROOM.rglob("*.py")]:
        asked |= set(re.findall(r"""(?:\bt|texts)\(\s*['"]([a-z_]+(?:\.[a-z_0-9]+)+)['"]""", path.read_text()))
    assert len(asked) > 100
    assert asked - known == set()


def test_every_state_result_and_type_has_a_name() -> None:
    """Texts made of data: whatever the loop can say, the pages can."""
    keys = {
        *(type_key(str(kind)) for kind in ReactionType),
        *(f"result.{result}" for result in RESULTS),
        *(f"state.{state}" for state in NeedState),
        *(f"mode.{mode}" for mode in Experience),
    }
    assert keys - texts("fr").known_keys == set()


def test_no_text_is_left_over() -> None:
    """A text that no page shows is a mistake in one of them."""
    source = "".join(path.read_text() for path in [*ROOM.rglob("*.html"), *ROOM.rglob("*.py")])
    made = ("type.", "result.", "state.", "mode.", "units.", "figures.", "rules.", "flash.", "error.", "kind.", *MADE)
    left = [key for key in texts("en").known_keys if f"{key}'" not in source and f'{key}"' not in source]
    assert [key for key in left if not key.startswith(made)] == []


def test_plurals_follow_the_language() -> None:
    """French counts zero as one, English as many."""
    assert texts("en")("quarantine.bytes", n=0, shown="0") == "0 bytes"
    assert texts("fr")("quarantine.bytes", n=0, shown="0") == "0 octet"
    assert texts("fr")("quarantine.bytes", n=2, shown="2") == "2 octets"


@pytest.mark.parametrize(
    ("language", "days", "expected"),
    [
        ("en", 7.1, "7.1 days"),
        ("en", 0.3, "7 hours"),
        ("en", 28.4, "28 days"),
        ("en", 900.0, "2.5 years"),
        ("en", 3650.0, "over 10 years"),
        ("fr", 7.1, "7,1 jours"),
        ("fr", 3650.0, "plus de 10 ans"),
    ],
)
def test_a_time_to_empty_is_shown_in_the_unit_that_fits(language: str, days: float, expected: str) -> None:
    """Hours, days or years."""
    assert Formatter(language).days(days).replace("\u00a0", " ") == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (4.2, 9.8, "4–10 days"),
        (3.1, 3.4, "3.1–3.4 days"),
        (0.2, 0.7, "5–17 hours"),
        (700.0, 3650.0, "over 700 days"),
        (3650.0, 3650.0, "over 10 years"),
        (5.0, 5.0, "5 days"),
    ],
)
def test_a_range_is_shown_once_with_its_unit(low: float, high: float, expected: str) -> None:
    """And a span that ends beyond what is known says so instead of naming an end."""
    assert Formatter("en").range_days(low, high).replace("\u00a0", " ") == expected


def test_moments_are_in_the_customers_zone_and_language() -> None:
    """16:00 UTC is 17:00 in Paris."""
    assert Formatter("fr", "Europe/Paris").moment(NOW_MS) == "24 nov. 2025, 17:00"
    assert Formatter("en", "no/such_zone").moment(NOW_MS) == "24 Nov 2025, 16:00"
    assert Formatter("fr").ago(NOW_MS - 3 * HOUR_MS, NOW_MS) == "il y a 3 heures"
    assert Formatter("en").ago(NOW_MS + 2 * DAY_MS, NOW_MS) == "in 2 days"
    assert Formatter("en").ago(NOW_MS - 5_000, NOW_MS) == "just now"


def test_units_and_amounts_are_translated() -> None:
    """Known units by name, unknown ones as the profile says them."""
    assert Formatter("fr").quantity(18, "cups") == "18\u00a0tasses"
    assert Formatter("fr").quantity(18, "bushels") == "18\u00a0bushels"
    assert Formatter("en").quantity(18, "") == "18"
    assert Formatter("fr").money(1234.5).replace("\u202f", " ") == "1 234,50"


def test_an_item_is_called_by_its_label_or_by_its_own_name() -> None:
    """A profile's label where the slot is the profile's; the device's own name where the profile takes any slot."""
    catalogue = catalogue_of()
    assert item_title(catalogue, catalogue.slots["brew-1/beans"], "fr") == "Café en grains"
    assert item_title(catalogue, catalogue.slots["rack-007/paper_towels"], "fr") == "Paper towels"


def test_an_unknown_text_raises() -> None:
    """A missing text is found by a test, never shown as a key."""
    with pytest.raises(KeyError):
        texts("en")("no.such_text")
