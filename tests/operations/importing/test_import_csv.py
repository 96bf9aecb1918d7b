"""`starloop import csv`: a household's and an operator's tables become readings, and what can't is said."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from starloop.cli import cli

CUTS = Path(__file__).parents[2] / "data" / "weusedto"


def run(*arguments: str | Path) -> Result:
    """`starloop import csv …`."""
    return CliRunner().invoke(cli, ["import", "csv", *map(str, arguments)])


def messages(result: Result) -> list[dict[str, Any]]:
    """The lines of standard output that are messages, ticks left out."""
    return [line for line in map(json.loads, result.stdout.splitlines()) if "tick" not in line]


def values(result: Result) -> list[tuple[float, dict[str, float]]]:
    """(at, values) of every message."""
    return [(line["at"], line["payload"]["values"]) for line in messages(result)]


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    """A file with this text."""
    path = folder / name
    path.write_text(text)
    return path


def test_a_household_imports_its_fixtures_from_several_files_in_one_order_of_time() -> None:
    """Flushes in litres, dishwasher cycles counted, shower millilitres scaled: four files of one home, merged."""
    result = run(
        CUTS / "Toilet.csv", CUTS / "Shower.csv.gz", CUTS / "Dishwasher30.csv", CUTS / "Washingmachine.csv",
        "--device", "home", "--time", "Time",
        "--value", "filter_used=Toilet.csv:Flow",
        "--value", "shower_used=Shower.csv.gz:Flow", "--scale", "shower_used=0.001",
        "--count", "tablets_used=Dishwasher30.csv",
        "--count", "washes_used=Washingmachine.csv", "--count-gap", "washes_used=2h",
        "--where", "Washingmachine.csv:Flow>150",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    times = [at for at, _ in values(result)]
    assert times == sorted(times)
    sums: dict[str, float] = {}
    for _, row in values(result):
        for name, value in row.items():
            sums[name] = sums.get(name, 0.0) + value
    flushes = [line.split()[1] for line in (CUTS / "Toilet.csv").read_text().splitlines()[1:]]
    assert sums["filter_used"] == 12.0 * flushes.count("12.0") == 4740.0
    assert sums["tablets_used"] == 16
    assert sums["washes_used"] == 2
    with gzip.open(CUTS / "Shower.csv.gz", "rt") as file:
        litres = sum(float(line.split()[1]) for line in file.readlines()[1:]) / 1000
    assert sums["shower_used"] == pytest.approx(litres)
    assert " 0 unreadable" in result.stderr


def test_messages_are_numbered_so_that_two_events_of_one_second_both_count() -> None:
    """Each device's messages have a boot and ascending numbers; times alone would make the second a duplicate."""
    result = run(
        CUTS / "Toilet.csv", "--device", "a", "--time", "Time", "--value", "b/x_used=Flow", "--count", "n_used"
    )
    numbers: dict[str, list[int]] = {}
    for line in messages(result):
        numbers.setdefault(line["topic"], []).append(line["payload"]["seq"])
        assert line["payload"]["boot"] == 1
    assert numbers == {f"starloop/v1/{device}/telemetry": list(range(1, 400)) for device in "ab"}


def test_an_interval_sums_what_is_used_and_keeps_the_last_level(tmp_path: Path) -> None:
    """--every gives one message an interval, at its end, and nothing is lost from the sum."""
    path = table(tmp_path, "t,flow,level\n0,1,10\n30,2,9\n60,4,8\n7200,8,7\n")
    result = run(path, "--device", "d", "--time", "t", "--value", "x_used=flow", "--value", "x=level", "--every", "1m")
    assert values(result) == [
        (60.0, {"x_used": 3.0, "x": 9.0}),
        (120.0, {"x_used": 4.0, "x": 8.0}),
        (7260.0, {"x_used": 8.0, "x": 7.0}),
    ]


def test_ticks_come_at_even_times_after_the_readings_up_to_them(tmp_path: Path) -> None:
    """A tick at T follows every reading up to T; one more comes after the last reading."""
    path = table(tmp_path, "t,v\n10,1\n60,2\n61,3\n190,4\n")
    result = run(path, "--device", "d", "--time", "t", "--value", "v=v", "--tick-every", "1m")
    assert [(line["at"], "tick" in line) for line in map(json.loads, result.stdout.splitlines())] == [
        (10, False), (60, False), (60, True), (61, False), (120, True), (180, True), (190, False), (240, True),
    ]  # fmt: skip


def test_a_log_that_is_newest_first_is_turned_round(tmp_path: Path) -> None:
    """Rows in descending order of date come out ascending, at midnight of the zone that is said."""
    path = table(tmp_path, "date,litres\n2022-10-23,51.63\n2022-09-28,47.73\n")
    result = run(
        path, "--device", "car", "--time", "date", "--value", "fuel_used=litres", "--timezone", "Europe/Prague"
    )
    assert values(result) == [(1664316000.0, {"fuel_used": 47.73}), (1666476000.0, {"fuel_used": 51.63})]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ('Time Flow "End time"\n5 1.5 9\n', (), (5.0, 1.5)),
        ("Time;Flow\n01.02.2024 08:00;1,5\n", ("--time-format", "%d.%m.%Y %H:%M"), (1706774400.0, 1.5)),
        ("Time\tFlow\n1700000000000\t1.5\n", (), (1700000000.0, 1.5)),
        ("Time,Flow\n2024-02-01T08:00:00Z,1.5\n", (), (1706774400.0, 1.5)),
        ('Time,Flow\n2024-02-01 09:00,"1,5"\n', ("--decimal", "comma", "--timezone", "Europe/Paris"), (1706774400.0, 1.5)),
        ("\ufeffTime|Flow\n5|1.5\n", (), (5.0, 1.5)),
    ],
)  # fmt: skip
def test_a_table_as_spreadsheets_write_it_is_understood(
    tmp_path: Path, text: str, options: tuple[str, ...], expected: tuple[float, float]
) -> None:
    """Blanks, semicolons, tabs and bars; quoted headers; decimal commas; epoch in milliseconds; times with a format."""
    result = run(table(tmp_path, text), "--device", "d", "--time", "Time", "--value", "v=Flow", *options)
    assert values(result) == [(expected[0], {"v": expected[1]})], result.output


def test_rows_that_can_t_be_read_are_said_with_file_line_column_and_value(tmp_path: Path) -> None:
    """Six bad rows among two good ones: six rejects, counted, and the good rows come through."""
    text = "t,v\n1,1\nsoon,1\n2,much\n3,nan\n4\n5,1,1\n6,1e999\n7,2\n\n8,\n"
    path, rejects = table(tmp_path, text), tmp_path / "rejects.jsonl"
    result = run(path, "--device", "d", "--time", "t", "--value", "v=v", "--rejects", rejects)
    assert result.exit_code == 0
    assert values(result) == [(1.0, {"v": 1.0}), (7.0, {"v": 2.0})]
    rows = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(row["line"], row["column"], row["value"]) for row in rows] == [
        (3, "t", "soon"), (4, "v", "much"), (5, "v", "nan"), (6, "row", "4"), (7, "row", "5,1,1"), (8, "v", "1e999"),
    ]  # fmt: skip
    assert {row["file"] for row in rows} == {str(path)}
    assert "9 rows read, 1 skipped, 6 unreadable" in result.stderr
    shown = run(path, "--device", "d", "--time", "t", "--value", "v=v").stderr
    assert f"{path}:3: t is 'soon': expected epoch seconds or a time" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--time", "Tme", "--value", "v=Flow"), "has no column 'Tme' (did you mean \"Time\"?)"),
        (("--time", "Time", "--value", "v=flow"), "has no column 'flow' (did you mean \"Flow\"?)"),
        (("--time", "Time"), "no value is imported from"),
        (("--time", "Time", "--value", "Flow"), "--value is 'Flow': expected NAME=…"),
        (("--time", "Time", "--value", "v=Flow", "--scale", "w=2"), "--scale names 'w'"),
        (("--time", "Time", "--value", "v=Flow", "--scale", "v=two"), "--scale v is 'two': expected a number"),
        (("--time", "Time", "--value", "v=Flow", "--timezone", "Mars"), "expected an IANA time zone"),
        (("--time", "Time", "--value", "v=Flow", "--where", "Flow"), "the condition is 'Flow'"),
        (("--time", "Time", "--value", "v=Flow", "--where", "Flow>1000"), "no row could be converted to a reading"),
        (("--time", "Time", "--count", "v=Other.csv"), "'Other.csv' is not one of the files"),
        (("--time", "Time", "--value", "v=Flow", "--encoding", "utf-99"), "expected an encoding known to Python"),
    ],
)
def test_a_wrong_option_is_said_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    """Misspelt columns, values and options name what was found and what was expected."""
    result = run(CUTS / "Dishwasher30.csv", "--device", "d", *arguments)
    assert result.exit_code != 0
    assert said in str(result.exception)


def test_a_file_that_is_no_table_is_said(tmp_path: Path) -> None:
    """Not there, empty, no text, a broken gzip."""
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(b"\x1f\x8b" + b"x" * 30)
    latin = tmp_path / "latin.csv"
    latin.write_bytes("t,é\n1,2\n".encode("latin-1"))
    for path, said in (
        (tmp_path / "none.csv", "not found"),
        (table(tmp_path, "", "empty.csv"), "is empty"),
        (broken, "can't be read"),
        (latin, "--encoding"),
    ):
        result = run(path, "--device", "d", "--time", "t", "--count", "n_used")
        assert said in str(result.exception), path
    assert run(latin, "--device", "d", "--time", "t", "--value", "v=é", "--encoding", "latin-1").exit_code == 0


def test_an_import_is_compared_with_the_fleet_that_it_is_for() -> None:
    """A device that the fleet has not is an error; a value of no slot is said."""
    options = ("--time", "Time", "--count", "tablet_used", "--fleet", CUTS / "fleet.toml")
    assert "the fleet has no device 'hom'" in str(run(CUTS / "Dishwasher30.csv", "--device", "hom", *options).exception)
    result = run(CUTS / "Dishwasher30.csv", "--device", "home", *options)
    assert 'home/tablet_used does not belong to a slot of the fleet (did you mean "tablets_used"?)' in result.stderr


def test_the_whole_real_data_sets_come_through(data: Callable[[str], Path]) -> None:
    """Every row of the WEUSEDTO fixtures and the car's fuel log is read."""
    folder = data("consumption/weusedto_water")
    result = run(folder / "Shower.csv.gz", "--device", "d", "--time", "Time", "--value", "v_used=Flow", "--every", "1d")
    assert "107079 rows read, 0 skipped, 0 unreadable" in result.stderr
    for name in ("Toilet.csv", "Washingmachine.csv", "Dishwasher30.csv"):
        result = run(folder / name, "--device", "d", "--time", "Time", "--value", "v_used=Flow", "--no-ticks")
        assert " 0 unreadable" in result.stderr
    log = data("consumption/car_fuel_logs/fuel_log.csv")
    result = run(log, "--device", "car", "--time", "date", "--value", "fuel_used=fuel_amount_l")
    assert len(messages(result)) == 51
