"""A small fleet for the edge: a tank of Maria's and a machine of Ben's."""

from __future__ import annotations

import pytest

from config.fleet import Customer, Device, Fleet, Slot, Supplier
from config.profile_file import load_profiles
from config.resolve import Catalogue, resolve
from edge.intake import Intake


class NamesInMemory:
    """A registry of metrics that lasts as long as the test."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))

    def name(self, number: int) -> str:
        return list(self.numbers)[number]


@pytest.fixture
def catalogue() -> Catalogue:
    fleet = Fleet(
        customers=(Customer(id="maria"), Customer(id="ben")),
        devices=(
            Device(
                id="tank-7",
                customer="maria",
                profile="level-tank",
                slots={"oil": Slot(capacity=1500.0, pack=500.0, suppliers=("acme",))},
            ),
            Device(id="pump-1", customer="ben", profile="generic-monitor"),
        ),
        suppliers=(Supplier(id="acme"),),
    )
    return resolve(fleet, load_profiles())


@pytest.fixture
def names() -> NamesInMemory:
    return NamesInMemory()


@pytest.fixture
def intake(catalogue: Catalogue, names: NamesInMemory) -> Intake:
    return Intake(catalogue, names)
