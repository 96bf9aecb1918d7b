"""A change of the fleet: rows by id, judged like a fleet file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Customer, Device, Experience, Fleet, Slot, Supplier
from config.fleet_change import change_catalogue, change_catalogue_from_json, change_fleet, fleet_from_catalogue
from config.profile_file import load_profiles
from star.errors import ConfigError

FLEET = Fleet(
    customers=(Customer(id="maria", timezone="Europe/Paris", experience=Experience.AUTO, consents=("replenishment",)),),
    devices=(
        Device(
            id="tank.7",
            customer="maria",
            profile="level-tank",
            slots={"oil": Slot(capacity=1500.0, suppliers=("acme",), experience=Experience.AUTO)},
        ),
    ),
    suppliers=(Supplier(id="acme", price=600.0),),
)


@pytest.fixture
def catalogue() -> Catalogue:
    """The fleet above, resolved."""
    return resolve_catalogue(FLEET, load_profiles())


def refused(catalogue: Catalogue, tables: Any) -> list[str]:
    """The problems of a change that is refused, as field: message."""
    with pytest.raises(ConfigError) as caught:
        change_catalogue_from_json(catalogue, tables if isinstance(tables, str) else json.dumps(tables))
    return [f"{one.field}: {one.message}" for one in caught.value.problems]


def test_a_customer_changes_one_choice_and_keeps_the_others(catalogue: Catalogue) -> None:
    """What a change does not name stays; null takes a field back to its default."""
    after = change_catalogue_from_json(
        catalogue, '{"customers": [{"id": "maria", "language": "fr", "timezone": null}]}'
    )
    maria = after.customers["maria"]
    assert (maria.language, maria.timezone, maria.experience) == ("fr", "UTC", Experience.AUTO)
    assert after.slots == catalogue.slots


def test_a_device_is_added_or_replaced_whole(catalogue: Catalogue) -> None:
    """A device in force does not keep what the change leaves out; its place in the fleet stays."""
    change = {
        "devices": [
            {"id": "new", "customer": "maria", "profile": "printer"},
            {"id": "tank.7", "customer": "maria", "profile": "level-tank", "slots": {"oil": {"capacity": 900.0}}},
        ]
    }
    after = change_catalogue(catalogue, change, catalogue.profiles)
    assert (after.slots["tank.7/oil"].capacity, after.slots["tank.7/oil"].suppliers) == (900.0, ())
    assert list(after.devices) == ["tank.7", "new"]
    assert fleet_from_catalogue(after) == change_fleet(FLEET, change)


def test_a_change_does_not_touch_what_was_before(catalogue: Catalogue) -> None:
    """apply is pure: the catalogue and fleet given are as they were."""
    before = fleet_from_catalogue(catalogue)
    change_catalogue_from_json(catalogue, '{"suppliers": [{"id": "acme", "price": 1.0}]}')
    assert fleet_from_catalogue(catalogue) == before == FLEET


def test_a_change_with_mistakes_is_refused_with_every_one(catalogue: Catalogue) -> None:
    """Mistakes of one row and of one row against another come together."""
    tables = {
        "customers": [{"id": "maria", "experience": "offer", "budget_per_month": -1}],
        "devices": [{"id": "d", "customer": "mari", "profile": "level-tank", "slots": {"s.1": {"suppliers": ["x"]}}}],
    }
    said = refused(catalogue, tables)
    assert [one.split(": ")[0] for one in said] == [
        "customers.maria.budget_per_month",
        "devices.d.customer",
        "devices.d.slots.s.1.suppliers",
        "devices.d.slots.s.1.capacity",
        "devices.tank.7.slots.oil.experience",
    ]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ("[", ": is not JSON"),
        ("[1]", ": is [1]: expected an object of tables"),
        ("[" * 100_000, ": is not JSON"),
        ({"customer": []}, 'customer: is not known here (did you mean "customers"?)'),
        ({"customers": {}}, "customers: is a table: expected a list of tables"),
        ({"customers": [5]}, "customers[1].id: is missing"),
        ({"customers": [{"id": 5}]}, "customers[1].id: is missing"),
        ({"suppliers": [{"id": "s"}, {"id": "s"}]}, "suppliers.s.id: is \"s\": expected once in a change"),
    ],
)  # fmt: skip
def test_a_change_that_is_no_tables_is_refused(catalogue: Catalogue, tables: Any, said: str) -> None:
    """Not JSON, no object, no list, no id, one id twice: one problem each."""
    problems = refused(catalogue, tables)
    assert len(problems) == 1
    assert said in problems[0]


def test_a_mistake_in_a_change_refuses_apply_too() -> None:
    """apply checks the rows by themselves, without profiles."""
    with pytest.raises(ConfigError, match=r"customers\.maria\.timezone"):
        change_fleet(FLEET, {"customers": [{"id": "maria", "timezone": "Mars"}]})
