"""Every example runs as its page says, against a real service or a real replay."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from starloop.cli import cli

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FLEETS = EXAMPLES / "fleets"
START_S = 1_764_000_000
HOUR_S = 3_600
WAIT_S = 120.0


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process that is stopped at the end, however the test went."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(WAIT_S)
        assert process.stdout is not None
        process.stdout.close()


def line_of(process: subprocess.Popen[str], word: str) -> str:
    """The next line that it prints with this word in it."""
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return line
    pytest.fail(f"it ended without a line that has {word!r}")


def ran(*arguments: object) -> str:
    """What a Python process that ends by itself prints."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_device_s_low_level_becomes_an_order_at_the_supplier_s_webhook(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """The device prints the order and its reason; the supplier took the same order, once."""
    webhook, mqtt = free_port(), free_port()
    fleet = tmp_path / "auto.toml"
    fleet.write_text((FLEETS / "auto.toml").read_text().replace(":9000/", f":{webhook}/"))
    up = ("-m", "starloop", "up", "--fleet", fleet, "--data", tmp_path / "var", "--mqtt-port", mqtt, "--http-port", 0)
    with started(EXAMPLES / "supplier.py", webhook) as supplier, started(*up) as service:
        line_of(service, "starloop is ready")
        said = ran(EXAMPLES / "device.py", "tank-7", "oil", 20, mqtt)
        assert said.startswith("starloop.order.requested - Heating oil (tank-7) lasts about")
        assert line_of(supplier, "order") == "order tank-7/oil/1/order/1 500.0 of oil for tank-7\n"


def test_a_harness_keeps_its_tank_from_running_dry_in_lockstep() -> None:
    """Its own true level never reaches zero, and it printed an order with the reason."""
    said = ran(EXAMPLES / "lockstep.py", FLEETS / "auto.toml", 60)
    assert "500 litres ordered from acme for 610.00" in said
    assert said.splitlines()[-1] == "1 orders in 60 days, empty for 0 hours"


def test_a_table_of_history_becomes_orders_by_the_page_s_two_commands(tmp_path: Path) -> None:
    """Imported and replayed as examples/history/README.md says: beans are ordered all along, and one descaling is booked."""
    page = (EXAMPLES / "history" / "README.md").read_text().replace("\\\n", "")
    imported, replayed = (line.removeprefix("$ .venv/bin/starloop ") for line in page.splitlines() if line[:1] == "$")
    readings = tmp_path / "coffee.jsonl"
    ran("-m", "starloop", *imported.replace("coffee.jsonl", str(readings)).split())
    lines = map(
        json.loads, ran("-m", "starloop", *replayed.replace("coffee.jsonl", str(readings)).split()).splitlines()
    )
    made = [(line["type"], line["data"]["item"]) for line in lines if "tick" not in line]
    assert made.count(("starloop.order.requested", "beans")) >= 5
    assert ("starloop.maintenance.booked", "descaling") in made


@pytest.mark.parametrize(
    ("experience", "first"),
    [
        ("respond", "starloop.request.ready"),
        ("offer", "starloop.offer.made"),
        ("coach", "starloop.reminder.sent"),
        ("auto", "starloop.order.requested"),
    ],
)
def test_each_experience_does_what_its_fleet_file_says(experience: str, first: str, tmp_path: Path) -> None:
    """The same falling tank: made ready, offered, reminded of, or ordered."""
    readings = tmp_path / "readings.jsonl"
    with readings.open("w") as file:
        for step in range(16 * 4):
            at = START_S + step * 6 * HOUR_S
            level = {"values": {"oil": 300.0 - 4.0 * step}}
            print(json.dumps({"at": at, "topic": "starloop/v1/tank-7/telemetry", "payload": level}), file=file)
            print(json.dumps({"at": at, "tick": True}), file=file)
    fleet = FLEETS / f"{experience}.toml"
    assert CliRunner().invoke(cli, ["check", str(fleet)]).exit_code == 0
    done = CliRunner().invoke(cli, ["replay", "--fleet", str(fleet), "--readings", str(readings)])
    assert done.exit_code == 0, done.output
    reactions = [line for line in map(json.loads, done.stdout.splitlines()) if "tick" not in line]
    assert reactions[0]["type"] == first


def test_the_page_names_every_example() -> None:
    """examples/README.md has a row for each file and folder beside it."""
    page = (EXAMPLES / "README.md").read_text()
    names = [path.name + ("/" if path.is_dir() else "") for path in EXAMPLES.iterdir() if path.name[0] not in "._R"]
    assert [name for name in names if f"({name})" not in page] == []
