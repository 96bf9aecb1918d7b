"""The fleet file: what a customer or operator writes is understood, or every mistake in it is named with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from config.fleet import Experience
from config.fleet_file import load_catalogue, load_fleet
from star.errors import ConfigError, Problem

MISTAKES = Path(__file__).parent / "mistakes.toml"

EXPECTED = {
    "unknown-language": ("customers.maria.language", '"de": expected one of en, fr'),
    "unknown-timezone": ("customers.maria.timezone", 'did you mean "Europe/Paris"?'),
    "unknown-experience": ("customers.maria.experience", "expected one of respond, offer, coach, auto"),
    "impossible-hour": ("customers.maria.quiet_hours[2]", 'expected a time of day such as "22:00"'),
    "negative": ("customers.maria.contacts_per_week_max", "is -1: expected a number of at least 0"),
    "not-a-number": ("customers.maria.budget_per_month", "is nan: expected a finite number"),
    "unknown-channel": ("customers.maria.channels[2]", 'expected "mqtt" or an Apprise URL'),
    "unknown-consent": ("customers.maria.consents[1]", 'did you mean "replenishment"?'),
    "backward": ("customers.maria.away[1]", "expected the first day before the last"),
    "no-such-day": ("customers.maria.away[2][1]", "expected a day of the calendar"),
    "unknown-key": ("customers.maria.colour", "is not known here: expected one of away, "),
    "duplicate": ("customers.maria.id", "expected an id of its own"),
    "blank-in-name": ("customers.léo 2.id", "expected a name without blanks"),
    "one-of-two": ("customers.léo 2.quiet_hours", "expected two values"),
    "number-for-text": ("customers.léo 2.timezone", "is 7: expected a text"),
    "broken-header": ("", "is not TOML"),
    "text-for-list": ("customers.jo.consents", "expected a list"),
    "no-id": ("devices[1].id", "is missing: expected a name of its own"),
    "unknown-customer": ("devices.tank-7.customer", 'did you mean "maria"?'),
    "unknown-profile": ("devices.tank-7.profile", 'did you mean "level-tank"?'),
    "text-for-number": ("devices.tank-7.slots.oil.capacity", 'is "1500": expected a number'),
    "not-above-0": ("devices.tank-7.slots.oil.pack", "expected a number above 0"),
    "repeated": ("devices.tank-7.slots.oil.suppliers", "expected each once"),
    "infinite": ("devices.tank-7.slots.oil.stockout_cost", "is inf: expected a finite number"),
    "blank-in-slot": ("devices.tank-8.slots.heating oil", "expected a name without blanks"),
    "no-capacity": ("devices.tank-8.slots.oil.capacity", "is missing: expected a number"),
    "unknown-supplier": ("devices.tank-8.slots.oil.suppliers", 'did you mean "acme"?'),
    "more-than-customer": ("devices.tank-8.slots.oil.experience", "expected no more than the customer's offer"),
    "no-toml": ("spare_packs", "is not TOML: Invalid value"),
    "key-twice": ("price_max", "is there twice"),
    "no-such-part": ("devices.tank-8.parts.burner", "is not a part of profile"),
    "unknown-kind": ("suppliers.acme.kind", "expected one of crowd, market-maker, peer, producer, retailer"),
    "unsafe-endpoint": ("suppliers.acme.endpoint", "expected https"),
    "lead-time-reversed": ("suppliers.acme.lead_time_days", "expected the 10 % quantile first"),
    "bad-secret": ("suppliers.acme.secret", "expected `whsec_`"),
    "true-for-number": ("suppliers.acme.price", "is true: expected a number"),
    "no-price": ("suppliers.acme.products[1].price", "is missing"),
    "unknown-table": ("supplier", 'did you mean "suppliers"?'),
}


def problems_of(text: str | bytes, folder: Path) -> list[Problem]:
    """What load_catalogue says of a file with this text."""
    path = folder / "fleet.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_catalogue(path)
    return list(caught.value.problems)


def test_an_operator_sees_every_mistake_of_a_file_at_once_each_at_its_line() -> None:
    """Thirty-eight kinds of mistakes in one file give thirty-eight problems, each with line, field, found and expected."""
    marks = {
        mark[1]: number
        for number, line in enumerate(MISTAKES.read_text().splitlines(), 1)
        if (mark := re.search(r"# ([a-z0-9-]+)$", line))
    }
    assert marks.keys() == EXPECTED.keys()
    with pytest.raises(ConfigError) as caught:
        load_catalogue(MISTAKES)
    said = {(one.line, one.field): one.message for one in caught.value.problems}
    for mark, (field, message) in EXPECTED.items():
        assert message in said.pop((marks[mark], field), "nothing"), mark
    assert said == {}
    assert all(one.file == str(MISTAKES) for one in caught.value.problems)


def test_an_operator_never_sees_a_secret_or_password_in_a_report(tmp_path: Path) -> None:
    """Values of secrets, and what follows the scheme of a URL, are not repeated."""
    text = """
        [[customers]]
        id = "a"
        channels = ["foo://user:passw0rd@host"]
        [[suppliers]]
        id = "s"
        endpoint = "https://user:passw0rd@host/"
        secret = "passw0rd"
    """
    problems = problems_of(text, tmp_path)
    assert len(problems) == 3
    assert not any("passw0rd" in str(problem) for problem in problems)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "is empty"),
        ("# only a remark\n", None, "is empty"),
        (b"[[customers]]\nid = \"a\"\nname = \"\xff\"\n", 3, "not UTF-8"),
        ("customers = 5\n", 1, "expected tables, each under a line [[customers]]"),
        ("[customers]\nid = 'a'\n", 1, "expected tables"),
        ("[[customers]]\nid = 'a'\nname = '''never closed\n", 3, "is not TOML"),
        ("[[customers]]\nid = 'a'\naway = [['2026-08-01',\n", 3, "is not TOML"),
        ("x = " + "[" * 5000 + "]" * 5000, None, "too deep"),
        ("[[customers]]\nid = 'e\u0301'\n", 2, "composed form"),
        ('[[customers]]\nid = "a\\u0000b"\n', 2, "without control characters"),
        ("[[customers]]\nid = '$sys'\n", 2, "expected a name"),
        ("[[customers]]\nid = 'a'\n[[customers]]\nid = 'a'\n", 4, "expected an id of its own"),
        ("[[customers]]\nid = ''\n", 2, "not empty"),
        ("[[suppliers]]\nid = 's'\nendpoint = 'https://169.254.169.254/'\n", 3, "link-local"),
        ("[[suppliers]]\nid = 's'\nendpoint = 'ftp://h/'\n", 3, "https"),
        ("[[suppliers]]\nid = 's'\nprice = 1e999\n", 3, "finite"),
        ("[[suppliers]]\nid = 's'\nlead_time_days = [1, 2, 3]\n", 3, "expected 2 values"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_file_is_reported_with_its_reason(text: str, line: int, message: str, tmp_path: Path) -> None:
    """One mistake gives one problem, at its line."""
    problems = problems_of(text, tmp_path)
    assert [(one.line, message in one.message) for one in problems] == [(line, True)], problems


def test_a_missing_file_or_a_folder_is_reported(tmp_path: Path) -> None:
    """No file and a folder are each said in one line."""
    for path, message in ((tmp_path / "none.toml", "is not there"), (tmp_path, "is a folder")):
        with pytest.raises(ConfigError, match=message):
            load_catalogue(path)


def test_a_broken_line_does_not_hide_or_invent_other_mistakes(tmp_path: Path) -> None:
    """A broken `id` is not also missing, and what names the table's customer is judged by what remains."""
    problems = problems_of(
        "[[customers]]\nid = 'jo\nexperience = 'auto'\n[[devices]]\nid = 'd'\ncustomer = 'x'\nprofile = 'level-tank'\n",
        tmp_path,
    )
    assert [(one.line, one.field) for one in problems] == [(2, "id"), (6, "devices.d.customer")]


def test_a_customer_may_write_days_and_windows_line_ends_and_names_in_any_script(tmp_path: Path) -> None:
    """Native TOML dates, a byte order mark, CRLF, unicode ids and dotted keys are understood."""
    path = tmp_path / "fleet.toml"
    text = """
[[customers]]
id = "Ångström-家"
experience = "auto"
away = [[2026-08-01, 2026-08-21]]
[[devices]]
id = "réservoir.1"
customer = "Ångström-家"
profile = "level-tank"
slots.huile.capacity = 1000
slots.huile.experience = "coach"
"""
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    catalogue = load_catalogue(path)
    item = catalogue.slots["réservoir.1/huile"]
    assert (item.capacity, item.experience) == (1000.0, Experience.COACH)
    assert catalogue.customers["Ångström-家"].away == (("2026-08-01", "2026-08-21"),)


def test_a_fleet_is_read_without_its_profiles_too(tmp_path: Path) -> None:
    """load_fleet gives the tables, and leaves references to resolve()."""
    path = tmp_path / "fleet.toml"
    path.write_text("[[devices]]\nid = 'd'\ncustomer = 'x'\nprofile = 'none'\n")
    assert load_fleet(path).devices[0].profile == "none"


def test_profiles_beside_the_fleet_file_are_the_users_own(tmp_path: Path) -> None:
    """A folder `profiles` next to the file is read, and its mistakes are reported with the file's."""
    (tmp_path / "profiles").mkdir()
    profile = tmp_path / "profiles" / "salt.toml"
    profile.write_text(
        "name = 'salt'\ndescription = 'softener salt'\n[slots.salt]\nsignal = 'level'\ncapacity = 25.0\n"
    )
    path = tmp_path / "fleet.toml"
    path.write_text("[[customers]]\nid = 'c'\n[[devices]]\nid = 'd'\ncustomer = 'c'\nprofile = 'salt'\n")
    assert load_catalogue(path).slots["d/salt"].capacity == 25.0
    profile.write_text("name = 'salt'\ndescription = 'softener salt'\n[slots.salt]\nsignal = 'levl'\n")
    with pytest.raises(ConfigError) as caught:
        load_catalogue(path)
    assert [(one.file, one.line) for one in caught.value.problems] == [(str(profile), 4), (str(path), 6)]
