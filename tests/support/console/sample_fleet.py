"""The neighbourhood of the console's tests: its fleet, the levels of its items, and their history. Pure."""

from __future__ import annotations

import random
from typing import Any

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Fleet
from config.profile_file import load_profiles
from star.analyse import QUANTILES, Forecast
from star.times import DAY_MS, HOUR_MS, MINUTE_MS

NOW_MS = 1_764_000_000_000  # 24 November 2025, 16:00 UTC
MODEL = "run-out@1.0.0:9f2c41d07ab3"
_SPREAD = (0.45, 0.56, 0.64, 0.8, 1.0, 1.25, 1.55, 1.78, 2.3)

FLEET: dict[str, Any] = {
    "customers": [
        {
            "id": "maria",
            "name": "Maria Duval",
            "language": "fr",
            "timezone": "Europe/Paris",
            "experience": "auto",
            "quiet_hours": ["22:00", "07:30"],
            "budget_per_month": 900.0,
            "consents": ["replenishment", "maintenance"],
            "away": [["2026-08-01", "2026-08-21"]],
        },
        {
            "id": "harbour",
            "name": "Harbour Office",
            "timezone": "Europe/London",
            "experience": "offer",
            "consents": ["replenishment"],
            "channels": ["mqtt", "ntfy://push.example/harbour"],
        },
        {"id": "tom", "experience": "coach", "consents": ["replenishment", "maintenance"]},
    ],
    "devices": [
        {
            "id": "tank-7",
            "customer": "maria",
            "profile": "heating-oil",
            "slots": {"oil": {"suppliers": ["acme"], "price_max": 650.0}},
        },
        {
            "id": "brew-1",
            "customer": "maria",
            "profile": "coffee-machine",
            "slots": {"beans": {"suppliers": ["roastery", "acme"], "experience": "offer"}},
        },
        {
            "id": "inkjet-3",
            "customer": "harbour",
            "profile": "printer",
            "slots": {"black": {"suppliers": ["papers"], "experience": "respond"}, "cyan": {"suppliers": ["papers"]}},
        },
        {
            "id": "rack-007",
            "customer": "harbour",
            "profile": "level-tank",
            "slots": {"paper_towels": {"capacity": 24.0, "suppliers": ["papers"]}, "soap<b>5l": {"capacity": 5.0}},
        },
        {
            "id": "filter-2",
            "customer": "tom",
            "profile": "water-filter",
            "slots": {"filter": {"suppliers": ["acme"]}},
        },
    ],
    "suppliers": [
        {"id": "acme", "lead_time_days": [2.0, 5.0], "price": 610.0, "secret": "whsec_c2VjcmV0"},
        {"id": "roastery", "kind": "producer", "lead_time_days": [1.0, 3.0], "price": 24.0},
        {"id": "papers", "kind": "retailer", "lead_time_days": [1.0, 4.0], "price": 31.5},
    ],
}

# item -> level of the capacity now, use a day of the capacity, trust
LEVELS = {
    "tank-7/oil": (0.62, 0.022, 0.94),
    "tank-7/burner": (0.41, 0.00274, 0.97),
    "brew-1/beans": (0.18, 0.047, 0.91),
    "brew-1/descaling": (0.06, 0.011, 0.88),
    "inkjet-3/black": (0.05, 0.011, 0.83),
    "inkjet-3/cyan": (0.54, 0.008, 0.42),
    "inkjet-3/magenta": (0.71, 0.006, 0.79),
    "rack-007/paper_towels": (0.11, 0.03, 0.88),
    "rack-007/soap<b>5l": (0.868, 0.0135, 0.97),
    "filter-2/filter": (0.07, 0.0095, 0.9),
    "filter-2/cartridge": (0.3, 0.0055, 0.95),
}


def catalogue_of(tables: dict[str, Any] = FLEET) -> Catalogue:
    """The catalogue of the neighbourhood."""
    return resolve_catalogue(Fleet.model_validate(tables), load_profiles())


def forecast_of(catalogue: Catalogue, key: str, at_ms: int = NOW_MS, share: float | None = None) -> Forecast:
    """A forecast of the item, as its level and use of LEVELS give it."""
    now_share, use, trust = LEVELS[key]
    share = now_share if share is None else share
    slot = catalogue.slots.get(key)
    capacity = slot.capacity if slot else 1.0
    return Forecast(
        item=key,
        at_ms=at_ms,
        level=share * capacity,
        days=tuple(min(3650.0, share / use * spread) for spread in _SPREAD[: len(QUANTILES)]),
        rate_per_day=use * capacity,
        trust=trust,
        model=MODEL,
        readings=1843,
        reading_ms=at_ms - 12 * MINUTE_MS,
        reading=share * capacity,
    )


def past_shares(key: str, days: int, every_ms: int = 3 * HOUR_MS) -> list[tuple[int, float]]:
    """A sawtooth that ends at the item's level now, oldest first: (at_ms, share)."""
    share, use, _ = LEVELS[key]
    rng = random.Random(key)
    found = []
    for step in range(int(days * DAY_MS / every_ms)):
        found.append((NOW_MS - step * every_ms, share))
        share += use * every_ms / DAY_MS * rng.uniform(0.3, 1.7)
        if share > 0.97:
            share = rng.uniform(0.1, 0.17)
    return found[::-1]
