"""Lines of readings, without a server: which readings are written, and that batching changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Device, Slot
from config.fleet_change import change_catalogue_from_json, fleet_from_catalogue
from config.profile_schema import Profile, RawReadingsMode
from star.sense import Readings
from stream.sinks.line_protocol import line, tags, text
from stream.sinks.reading_lines import ReadingLines
from tests.stream.analysis_bench import PROFILES, NamesInMemory, single_customer_fleet, tank

MINUTE_MS = 60_000
Row = tuple[str, int, float]


def of(catalogue: Catalogue, *batches: Sequence[Row], override: RawReadingsMode | None = None) -> list[str]:
    """The lines of several batches."""
    names = NamesInMemory()
    made = ReadingLines(names, override)
    found: list[str] = []
    for batch in batches:
        readings = Readings.from_rows([(names.number(name), at, at, value, -1, -1) for name, at, value in batch])
        assert made.learn_metrics(readings, catalogue) == []
        lines, points = made.lines(readings)
        found += lines.decode().split("\n") if lines else []
        assert points == (lines.count(b"\n") + 1 if lines else 0)
    return found


def kept_as(kept: RawReadingsMode, every_s: float = 900.0) -> Catalogue:
    """A fleet of one tank, whose profile has this mode."""
    profile = PROFILES["level-tank"].model_copy(update={"readings": kept, "readings_every_s": every_s})
    return with_profile(profile)


def with_profile(profile: Profile) -> Catalogue:
    """A fleet of one tank with this profile in place of the shipped one."""
    given = single_customer_fleet([tank("tank-7")])
    return resolve_catalogue(fleet_from_catalogue(given), {**given.profiles, profile.name: profile})


def every_minute(minutes: int, name: str = "tank-7/oil") -> list[Row]:
    """One reading per minute."""
    return [(name, minute * MINUTE_MS, float(minute)) for minute in range(minutes)]


def minutes(lines: Sequence[str]) -> list[int]:
    """The lines' times."""
    return [int(one.rsplit(" ", 1)[1]) // MINUTE_MS for one in lines]


def test_sampled_readings_are_the_first_of_each_window() -> None:
    """The default of every profile: one reading per metric and quarter of an hour, at its own time."""
    assert minutes(of(single_customer_fleet([tank("tank-7")]), every_minute(60))) == [0, 15, 30, 45]


@pytest.mark.parametrize(
    ("kept", "expected"), [(RawReadingsMode.ALL, 60), (RawReadingsMode.OFF, 0), (RawReadingsMode.SAMPLED, 6)]
)
def test_a_profile_selects_the_raw_readings_written(kept: RawReadingsMode, expected: int) -> None:
    """All, none, or one in ten minutes."""
    assert len(of(kept_as(kept, every_s=600), every_minute(60))) == expected


def test_one_setting_takes_precedence_over_all_profiles() -> None:
    """Whether it turns readings on or off."""
    assert len(of(kept_as(RawReadingsMode.OFF), every_minute(60), override=RawReadingsMode.ALL)) == 60
    assert of(kept_as(RawReadingsMode.ALL), every_minute(60), override=RawReadingsMode.OFF) == []


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["tank-7/oil", "tank-8/oil", "x/y"]), st.integers(-100, 100), st.floats(-1e9, 1e9)),
        max_size=40,
    ),
    cuts=st.lists(st.integers(0, 40), max_size=5),
)
def test_how_readings_are_batched_changes_nothing(rows: list[tuple[str, int, float]], cuts: list[int]) -> None:
    """Sampled or not, any batches give the same lines, and each is the line of a single point."""
    timed = [(name, at * MINUTE_MS, value) for name, at, value in rows]
    edges = sorted({0, *(min(cut, len(timed)) for cut in cuts), len(timed)})
    batches = [timed[low:high] for low, high in pairwise(edges)]
    catalogue = single_customer_fleet([tank("tank-7"), tank("tank-8")])
    assert of(catalogue, *batches) == of(catalogue, timed) == of(catalogue, *([row] for row in timed))
    plain = [
        f"reading,customer=maria,device={name.split('/')[0]},metric=oil value={value!r} {at}"
        for name, at, value in timed
        if name != "x/y"
    ]
    everything = of(catalogue, timed, override=RawReadingsMode.ALL)
    assert [
        (one.split(" ")[0], float(one.split("=")[-1].split(" ")[0])) for one in everything if "device=x" not in one
    ] == [(one.split(" ")[0], float(one.split("=")[-1].split(" ")[0])) for one in plain]


def test_late_readings_of_an_offline_device_are_sampled_alike() -> None:
    """Windows are of event time, so a backlog keeps its shape."""
    late = [(name, at - 600 * MINUTE_MS, value) for name, at, value in every_minute(60)]
    assert minutes(of(single_customer_fleet([tank("tank-7")]), every_minute(20), late)) == [
        0,
        15,
        -600,
        -585,
        -570,
        -555,
    ]


def test_a_device_that_moves_to_another_customer_is_tagged_with_the_new_one() -> None:
    """As soon as the fleet in force has changed."""
    names, before = NamesInMemory(), single_customer_fleet([tank("tank-7")])
    row = (names.number("tank-7/oil"), 0, 0, 1.0, -1, -1)
    made = ReadingLines(names, RawReadingsMode.ALL)
    made.learn_metrics(Readings.from_rows([row]), before)
    assert b"customer=maria," in made.lines(Readings.from_rows([row]))[0]
    after = change_catalogue_from_json(
        before,
        '{"customers": [{"id": "jo"}], "devices": [{"id": "tank-7", "customer": "jo", "profile": "level-tank", '
        '"slots": {"oil": {"capacity": 10}}}]}',
    )
    made.learn_metrics(Readings.from_rows([row]), after)
    assert b"customer=jo," in made.lines(Readings.from_rows([row]))[0]


def test_a_device_that_is_not_in_the_fleet_has_no_customer_tag() -> None:
    """InfluxDB allows no empty tag."""
    assert of(single_customer_fleet([tank("tank-7")]), [("gone/oil", 0, 1.0)]) == [
        "reading,device=gone,metric=oil value=1.0 0"
    ]


def test_a_number_unknown_to_the_registry_is_returned_once() -> None:
    """So that the registry can be read again."""

    class Knows:
        def number(self, name: str) -> int:
            raise NotImplementedError(name)

        def name(self, number: int) -> str:
            if number != 1:
                raise KeyError(number)
            return "tank-7/oil"

    rows = [(number, 0, 0, 1.0, -1, -1) for number in (5, 1, 5, 3)]
    assert ReadingLines(Knows()).learn_metrics(Readings.from_rows(rows), single_customer_fleet([tank("tank-7")])) == [
        3,
        5,
    ]


def test_a_point_without_a_value_gives_no_line() -> None:
    """And no text can end its line."""
    assert line(b"m", b"", [("a", None)], 1) is None
    assert tags([("a", ""), ("b", None)]) == b""
    assert line(b"m", tags([("t", "x\ny")]), [("a b", text('q"\\\n'))], 1) == b'm,t=x\\ny a\\ b="q\\"\\\\\\n" 1'


def test_each_device_follows_the_mode_of_its_own_profile() -> None:
    """Not that of the first profile."""
    mixed = with_profile(PROFILES["level-tank"].model_copy(update={"readings": RawReadingsMode.OFF}))
    other = Device(id="cup", customer="maria", profile="usage-counter", slots={"beans": Slot(capacity=100.0)})
    both = fleet_from_catalogue(mixed).model_copy(update={"devices": (*mixed.devices.values(), other)})
    catalogue = resolve_catalogue(both, mixed.profiles)
    rows = [("tank-7/oil", 0, 1.0), ("cup/beans_used", 0, 1.0)]
    assert of(catalogue, rows) == ["reading,customer=maria,device=cup,metric=beans_used value=1.0 0"]
