"""The fleet of a simulated neighbourhood: customers of all four experiences and both languages, their devices, and suppliers.

It holds only what the service may know, as tables of a fleet file. The true behaviour is in physics/ and behaviour.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from config.fleet import Customer, Device, Experience, Part, Product, Slot, Supplier, SupplierKind
from simulators.physics.device_kinds import DEVICE_FACTORIES

_NAMES = (
    ("maria", "fr"),
    ("tom", "en"),
    ("louise", "fr"),
    ("grace", "en"),
    ("karim", "fr"),
    ("priya", "en"),
    ("hugo", "fr"),
    ("owen", "en"),
    ("ines", "fr"),
    ("ruth", "en"),
    ("paul", "fr"),
    ("amara", "en"),
    ("chloe", "fr"),
    ("finn", "en"),
    ("yasmine", "fr"),
    ("leah", "en"),
    ("bruno", "fr"),
    ("noor", "en"),
    ("agathe", "fr"),
    ("sam", "en"),
)
_ZONES = {"fr": "Europe/Paris", "en": "Europe/London"}
_EXPERIENCE_SHIFT_HOMES = (
    4  # homes after which experiences shift by one, so that eight homes have every pair with a language
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One customer, and the kinds of the devices in the home (keys of physics.device_kinds.DEVICE_FACTORIES)."""

    customer: Customer
    kinds: tuple[str, ...]


def make_homes(rng: np.random.Generator, count: int) -> list[Home]:
    """`count` homes. Six homes have every kind of device, four every experience."""
    device_kinds = list(DEVICE_FACTORIES)
    experiences = list(Experience)
    homes = []
    for number in range(count):
        name, language = _NAMES[number % len(_NAMES)]
        repetition = number // len(_NAMES)
        experience = experiences[(number + number // _EXPERIENCE_SHIFT_HOMES) % len(experiences)]
        customer = Customer(
            id=name if repetition == 0 else f"{name}-{repetition + 1}",
            name=name.capitalize(),
            language="fr" if language == "fr" else "en",
            timezone=_ZONES[language],
            experience=experience,
            quiet_hours=("22:00", "07:00") if rng.random() < 0.7 else None,
            contacts_per_week_max=int(rng.integers(2, 6)),
            budget_per_month=float(rng.integers(15, 40) * 50) if rng.random() < 0.5 else None,
            consents=("replenishment", "maintenance"),
        )
        kinds = {device_kinds[number % len(device_kinds)]} | {kind for kind in device_kinds if rng.random() < 0.2}
        homes.append(Home(customer=customer, kinds=tuple(sorted(kinds))))
    return homes


SLOTS_BY_KIND: dict[str, dict[str, Slot]] = {
    "coffee": {
        "beans": Slot(suppliers=("bean-house", "corner-shop"), price_max=32.0, stockout_cost=15.0, spare_packs=True)
    },
    "oil": {
        "oil": Slot(
            capacity=1500.0,
            pack=500.0,
            suppliers=("oil-direct", "oil-and-more"),
            price_max=640.0,
            stockout_cost=300.0,
            stockout_cost_per_day=40.0,
            holding_cost_per_day=0.05,
        )
    },
    "filter": {"filter": Slot(suppliers=("pure-flow",), stockout_cost=25.0, spare_packs=True)},
    "dishwasher": {
        "detergent": Slot(
            capacity=40.0, pack=40.0, suppliers=("bean-house", "corner-shop"), stockout_cost=8.0, spare_packs=True
        ),
        "salt": Slot(capacity=25.0, pack=25.0, suppliers=("corner-shop",), stockout_cost=4.0, spare_packs=True),
    },
    "printer": {
        ink: Slot(suppliers=("ink-post",), stockout_cost=12.0) for ink in ("black", "cyan", "magenta", "yellow")
    },
    "tank": {
        "water": Slot(
            capacity=5000.0, pack=3000.0, suppliers=("tanker-pool",), stockout_cost=90.0, holding_cost_per_day=0.02
        )
    },
}
"""The slots of each kind of device, as in its fleet table."""

PROFILE_BY_KIND = {
    "coffee": "coffee-machine",
    "oil": "heating-oil",
    "filter": "water-filter",
    "dishwasher": "usage-counter",
    "printer": "printer",
    "tank": "level-tank",
}
PARTS_BY_KIND: dict[str, dict[str, Part]] = {
    "coffee": {"descaling": Part()},
    "oil": {"burner": Part(suppliers=("oil-and-more",))},
    "filter": {"cartridge": Part()},
}
"""The parts of each kind of device, by its profile."""


def device_table(home: Home, kind: str) -> Device:
    """The fleet table of a home's device."""
    return Device(
        id=f"{home.customer.id}-{kind}",
        customer=home.customer.id,
        profile=PROFILE_BY_KIND[kind],
        slots=SLOTS_BY_KIND[kind],
        parts=PARTS_BY_KIND.get(kind, {}),
    )


SUPPLIERS = (
    Supplier(id="oil-direct", kind=SupplierKind.PRODUCER, lead_time_days=(3.0, 7.0), price=590.0),
    Supplier(id="oil-and-more", kind=SupplierKind.RETAILER, lead_time_days=(2.0, 4.0), price=625.0),
    Supplier(
        id="bean-house",
        kind=SupplierKind.RETAILER,
        lead_time_days=(1.0, 3.0),
        price=24.0,
        products=(
            Product(sku="beans-espresso-1kg", quantity=100.0, price=24.0),
            Product(sku="beans-filter-1kg", quantity=100.0, price=21.0),
        ),
    ),
    Supplier(id="corner-shop", kind=SupplierKind.RETAILER, lead_time_days=(0.3, 1.2), price=27.0),
    Supplier(id="pure-flow", kind=SupplierKind.PRODUCER, lead_time_days=(2.0, 6.0), price=38.0),
    Supplier(id="ink-post", kind=SupplierKind.RETAILER, lead_time_days=(1.5, 4.0), price=19.0),
    Supplier(id="tanker-pool", kind=SupplierKind.PRODUCER, lead_time_days=(1.0, 5.0), price=140.0),
)
"""Every supplier of the neighbourhood. Their endpoint is `log`, so that a simulation sends nothing outside."""
