"""Replay of real consumption: a home's toilet and dishwasher (WEUSEDTO, CC BY 4.0), as in the README's tutorial."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "data" / "weusedto"


def starloop(*arguments: str) -> bytes:
    """What a command prints."""
    return subprocess.run([sys.executable, "-m", "starloop", *arguments], check=True, capture_output=True).stdout


def reactions_of(folder: Path) -> list[dict[str, Any]]:
    """The reactions that the tutorial's commands print."""
    readings = folder / "home.jsonl"
    starloop(
        *("import", "csv", str(DATA / "Toilet.csv"), str(DATA / "Dishwasher30.csv")),
        *("--device", "home", "--time", "Time", "--value", "filter_used=Toilet.csv:Flow"),
        *("--count", "tablets_used=Dishwasher30.csv", "--fleet", str(DATA / "fleet.toml"), "--out", str(readings)),
    )
    out = starloop("replay", "--fleet", str(DATA / "fleet.toml"), "--readings", str(readings), "--deliver")
    return [json.loads(line) for line in out.splitlines() if b'"starloop.' in line]


def test_a_real_homes_filter_is_ordered_in_time_every_time(tmp_path: Path) -> None:
    """Every order of filters arrives before the stock is used up, by the meter and not by the estimate."""
    orders = [line for line in reactions_of(tmp_path) if line["data"]["item"] == "filter"]
    assert len(orders) >= 3
    rows = [row.split() for row in (DATA / "Toilet.csv").read_text().splitlines()[1:]]
    uses = [(float(row[0]), float(row[1])) for row in rows]
    arrivals = [line["at"] + (1.0 * 3.0) ** 0.5 * 86_400 for line in orders]
    for number, arrival in enumerate(arrivals):
        used = sum(litres for at, litres in uses if at <= arrival)
        assert used < 800.0 * (number + 1), datetime.fromtimestamp(arrival, tz=UTC)


def test_a_real_homes_orders_do_not_exceed_its_consumption(tmp_path: Path) -> None:
    """Filters ordered exceed the litres used by no more than one filter."""
    lines = reactions_of(tmp_path)
    orders = [line for line in lines if line["data"]["item"] == "filter"]
    used = sum(float(row.split()[1]) for row in (DATA / "Toilet.csv").read_text().splitlines()[1:])
    assert len(orders) <= used / 800.0 + 1.0
