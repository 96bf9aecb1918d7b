"""Profiles: what ships is complete, and a user's own is understood or its mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.catalogue import resolve_catalogue
from config.fleet import Customer, Device, Fleet, Slot
from config.profile_file import SHIPPED_PROFILES_DIR, load_profile, load_profiles
from config.profile_schema import RawReadingsMode, SlotSignal
from star.errors import ConfigError

FOR_HARNESSES = {"level-tank", "usage-counter", "generic-monitor", "turbofan"}
EVERYDAY = {"coffee-machine", "heating-oil", "water-filter", "printer"}
C_MAPSS = {*(f"setting_{n}" for n in range(1, 4)), *(f"s_{n}" for n in range(1, 22))}


def mistakes(text: str, folder: Path, name: str = "own") -> list[tuple[int | None, str, str]]:
    """(line, field, message) of every problem that a profile with this text has."""
    path = folder / f"{name}.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    return [(one.line, one.field, one.message) for one in caught.value.problems]


def test_the_profiles_that_the_contract_names_and_the_everyday_ones_ship() -> None:
    """Each is one TOML file, named after it, and reads without a problem."""
    profiles = load_profiles()
    assert profiles.keys() >= FOR_HARNESSES | EVERYDAY
    assert {path.stem for path in SHIPPED_PROFILES_DIR.glob("*.toml")} == profiles.keys()


def test_a_harness_names_its_own_slots() -> None:
    """level-tank and usage-counter take any slot that a device names; the capacity is the device's."""
    profiles = load_profiles()
    assert profiles["level-tank"].slots["*"].signal is SlotSignal.LEVEL
    assert profiles["usage-counter"].slots["*"].signal is SlotSignal.USAGE
    devices = (
        Device(
            id="a", customer="c", profile="level-tank", slots={"oil": Slot(capacity=10.0), "gas": Slot(capacity=5.0)}
        ),
        Device(id="b", customer="c", profile="usage-counter", slots={"salt": Slot(capacity=3.0)}),
    )
    catalogue = resolve_catalogue(Fleet(customers=(Customer(id="c"),), devices=devices), profiles)
    assert {key: item.pack for key, item in catalogue.slots.items()} == {"a/oil": 10.0, "a/gas": 5.0, "b/salt": 3.0}


def test_a_harness_monitors_conditions() -> None:
    """generic-monitor scores one part from any value; turbofan its engine from the C-MAPSS channels, in cycles."""
    profiles = load_profiles()
    condition = profiles["generic-monitor"].parts["condition"].condition
    assert condition is not None
    assert condition.values == ()
    engine = profiles["turbofan"].parts["engine"].condition
    assert engine is not None
    assert set(engine.values) == C_MAPSS
    assert engine.life_unit == "cycles"


def test_everyday_devices_need_no_numbers_from_their_owner() -> None:
    """A coffee machine, tank, filter and printer resolve without a capacity in the fleet file, labels in both languages."""
    profiles = load_profiles()
    devices = tuple(Device(id=name, customer="c", profile=name) for name in sorted(EVERYDAY))
    catalogue = resolve_catalogue(Fleet(customers=(Customer(id="c"),), devices=devices), profiles)
    assert set(catalogue.slots) == {
        "coffee-machine/beans", "heating-oil/oil", "water-filter/filter",
        "printer/black", "printer/cyan", "printer/magenta", "printer/yellow",
    }  # fmt: skip
    assert set(catalogue.parts) == {"coffee-machine/descaling", "heating-oil/burner", "water-filter/cartridge"}
    for item in (*catalogue.slots.values(), *catalogue.parts.values()):
        assert item.label.keys() == {"en", "fr"}, item.key


def test_descaling_is_due_after_cups_or_months_whichever_comes_first() -> None:
    """The coffee machine's part has an interval of what the beans' slot counts, and one of days."""
    cups, months = load_profiles()["coffee-machine"].parts["descaling"].intervals
    assert (cups.cause, cups.counter, cups.limit) == ("cups", "beans", 300.0)
    assert (months.cause, months.counter, months.days) == ("months", None, 91.0)


def test_a_user_replaces_a_shipped_profile_by_one_of_the_same_name(tmp_path: Path) -> None:
    """A later folder wins; a folder that is not there is no mistake."""
    (tmp_path / "printer.toml").write_text(
        "name = 'printer'\ndescription = 'ours'\n[slots.black]\nsignal = 'level'\ncapacity = 100.0\n"
    )
    profiles = load_profiles(tmp_path, tmp_path / "none")
    assert profiles["printer"].description == "ours"
    assert profiles.keys() >= EVERYDAY


def test_every_mistake_of_every_profile_is_named_at_once(tmp_path: Path) -> None:
    """Two files with mistakes are both reported."""
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(f"name = '{name}'\n")
    with pytest.raises(ConfigError) as caught:
        load_profiles(tmp_path)
    assert {Path(one.file).name for one in caught.value.problems} == {"one.toml", "two.toml"}


def test_a_profile_chooses_which_raw_readings_are_written(tmp_path: Path) -> None:
    """Samples unless said otherwise; a word or a span that does not fit is named with its line."""
    assert {(one.readings, one.readings_every_s) for one in load_profiles().values()} == {
        (RawReadingsMode.SAMPLED, 900.0)
    }
    text = 'name = "own"\ndescription = "x"\nreadings = "some"\nreadings_every_s = 0\n[slots.a]\nsignal = "level"\n'
    found = mistakes(text, tmp_path)
    assert [(line, field) for line, field, _ in found] == [(3, "readings"), (4, "readings_every_s")]
    assert "sampled" in found[0][2]


def test_the_mistakes_of_a_profile_are_named_with_their_lines(tmp_path: Path) -> None:
    """Tables, arrays of tables and inline tables each give the line of the key."""
    text = """name = "other"
look_every_s = 5
[slots."*"]
signal = "levels"
rate_per_day = inf
label = { en = "x", de = "y" }
[slots."a b"]
signal = "level"
step = -1
[[parts.p.intervals]]
cause = "cups"
counter = "cups"
[[parts.p.intervals]]
cause = "never"
[parts.p.condition]
warmup = 3
"""
    found = mistakes(text, tmp_path)
    assert [(line, field) for line, field, _ in found] == [
        (1, "description"),
        (1, "name"),
        (2, "look_every_s"),
        (4, "slots.*.signal"),
        (5, "slots.*.rate_per_day"),
        (6, "slots.*.label"),
        (7, "slots.a b"),
        (9, "slots.a b.step"),
        (10, "parts.p.intervals[1]"),
        (13, "parts.p.intervals[2]"),
        (16, "parts.p.condition.warmup"),
    ]
    assert 'did you mean "warm_up"?' in found[-1][2]


def test_a_profile_without_items_or_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    """Nothing to watch, and a slot that is also a part, are said."""
    head = "name = 'own'\ndescription = 'd'\n"
    assert "at least one slot or part" in mistakes(head, tmp_path)[0][2]
    both = "[slots.a]\nsignal = 'level'\n[parts.a]\n[[parts.a.intervals]]\ncause = 'm'\ndays = 3.0\n"
    assert "is a slot and a part" in mistakes(head + both, tmp_path)[0][2]
