"""Replay in lockstep with a harness: one line in, and at each tick the output, before the next line is sent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.fleet_file import load_catalogue
from models.onnx_scorer import load_scorer
from runtime import replay as replay_module
from runtime.replay import Replay

FLEET = """
[[customers]]
id = "maria"
language = "fr"
timezone = "Europe/Paris"
experience = "auto"
consents = ["replenishment"]
[[devices]]
id = "tank-7"
customer = "maria"
profile = "level-tank"
[devices.slots.oil]
capacity = 1500.0
pack = 500.0
suppliers = ["acme"]
price_max = 650.0
stockout_cost = 400.0
[[suppliers]]
id = "acme"
lead_time_days = [2.0, 5.0]
price = 610.0
"""
START_S = 1_764_000_000
HOUR_S = 3_600


def falling(days: int, per_hour: float = 1.7, start: float = 900.0) -> list[dict[str, Any]]:
    """Hourly levels that fall at a constant rate, each with a tick."""
    lines: list[dict[str, Any]] = []
    for hour in range(days * 24):
        at = START_S + hour * HOUR_S
        level = max(start - per_hour * hour, 0.0)
        lines.append({"at": at, "topic": "starloop/v1/tank-7/telemetry", "payload": {"values": {"oil": level}}})
        lines.append({"at": at, "tick": True})
    return lines


def encoded(lines: list[dict[str, Any]]) -> list[bytes]:
    """The lines as bytes."""
    return [json.dumps(line).encode() + b"\n" for line in lines]


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A fleet file of one tank."""
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    return path


def replayed(fleet: Path, lines: list[bytes], emit: str = "reactions,forecasts,scores") -> bytes:
    """The output of an in-process replay."""
    replay = Replay(load_catalogue(fleet), load_scorer("run-out"), frozenset(emit.split(",")))
    out = [printed for line in lines for printed in replay.feed(line)]
    return b"".join(out + replay.finish())


def test_a_harness_gets_each_output_before_it_sends_the_next_line(fleet: Path) -> None:
    """The output of every tick is flushed while the input is open; at its end the exit status is 0."""
    command = [
        sys.executable,
        "-m",
        "starloop",
        "replay",
        "--fleet",
        str(fleet),
        "--readings",
        "-",
        "--emit",
        "forecasts",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in falling(1):
            process.stdin.write(json.dumps(line).encode() + b"\n")
            process.stdin.flush()
            if "tick" not in line:
                continue
            forecast = json.loads(process.stdout.readline())
            assert forecast["type"] == "forecast"
            assert forecast["at"] == line["at"]
            days = list(forecast["days_to_empty"].values())
            assert days == sorted(days)
            assert json.loads(process.stdout.readline()) == {"at": line["at"], "tick": True}
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait(timeout=20) == 0


def test_a_falling_tank_is_reordered_once_and_in_time(fleet: Path) -> None:
    """One open order, placed so early that even its slowest usual delivery arrives in time."""
    lines = falling(17)
    orders = [
        json.loads(line) for line in replayed(fleet, encoded(lines), "reactions").splitlines() if b"order" in line
    ]
    assert len(orders) == 1
    empty_s = START_S + 900.0 / 1.7 * HOUR_S
    assert orders[0]["at"] + 5.0 * 86_400 < empty_s
    assert orders[0]["data"]["price"] == 610.0
    assert "610" in orders[0]["data"]["because"]


def test_the_same_input_gives_the_same_bytes_however_lines_are_batched(
    fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of one line, of seven, and of all: the same output."""
    lines = encoded(falling(12))
    outputs = set()
    for size in (1, 7, 8_192):
        monkeypatch.setattr(replay_module, "BATCH_LINES_MAX", size)
        outputs.add(replayed(fleet, lines))
    assert len(outputs) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json\n", "not a line of the protocol"),
        (b'{"at": 1764000001, "what": 1}\n', "none of topic, outcome"),
        (b'{"at": "yesterday", "tick": true}\n', "expected an RFC 3339 time"),
        (b'{"at": 1, "tick": true}\n', "before the line before it"),
        (b'{"at": 1764000001, "outcome": {"id": "x", "result": "eaten"}}\n', "result is"),
        (b'{"at": 1764000001, "request": {"id": "x", "item": "tank-9/oil"}}\n', "tank-9/oil"),
        (b'{"at": 1764000001, "supplier": "nobody", "price": 3}\n', "nobody"),
        (b'{"at": 1764000001, "fleet": {"customers": [{"id": "maria", "experience": "bossy"}]}}\n', "bossy"),
        (b'{"at": 1764000001, "topic": "a/b", "payload_base64": "%%%"}\n', "payload_base64"),
    ],
)
def test_an_invalid_line_is_quarantined_and_the_others_are_processed(fleet: Path, line: bytes, reason: str) -> None:
    """It is printed with the reason at the next tick; `at` is of the line before, the topic null; no reading is lost."""
    first, tick = encoded(falling(1)[:2])
    out = [json.loads(row) for row in replayed(fleet, [first, line, tick]).splitlines()]
    quarantined = [row for row in out if row.get("type") == "quarantined"]
    assert len(quarantined) == 1
    assert reason in quarantined[0]["reason"]
    assert quarantined[0]["topic"] is None
    assert quarantined[0]["at"] == START_S
    assert [row["level"] for row in out if row.get("type") == "forecast"] == [900.0]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("NaN", "JSON"),
        ('{"values": {"oil": 1e999}}', "oil"),
        ('{"values": {"oil": "full"}}', "oil"),
        ('{"values": {}}', "values"),
        ("[1, 2]", ""),
    ],
)
def test_an_invalid_payload_is_quarantined_with_its_topic(fleet: Path, payload: str, reason: str) -> None:
    """NaN, infinities and wrong types, with topic and reason."""
    import base64

    packed = base64.b64encode(payload.encode()).decode()
    line = {"at": START_S, "topic": "starloop/v1/tank-7/telemetry", "payload_base64": packed}
    out = [json.loads(row) for row in replayed(fleet, encoded([line, {"at": START_S, "tick": True}])).splitlines()]
    assert out[0]["type"] == "quarantined"
    assert out[0]["topic"] == "starloop/v1/tank-7/telemetry"
    assert reason in out[0]["reason"]
    assert out[-1] == {"at": START_S, "tick": True}


def test_implausible_readings_are_kept_and_never_trigger_an_order(fleet: Path) -> None:
    """Negative, over capacity, from 1970 and from 2100: nothing is quarantined, nothing is ordered."""
    lines = falling(3, per_hour=0.1)
    implausible = [{"at": 0, "values": {"oil": 3.0}}, {"at": 4_102_444_800, "values": {"oil": 5.0}}]
    implausible += [{"values": {"oil": -40.0}}, {"values": {"oil": 90_000.0}}]
    for number, payload in enumerate(implausible):
        at = START_S + (20 + number) * HOUR_S
        lines.append({"at": at, "topic": "starloop/v1/tank-7/telemetry", "payload": payload})
    lines.sort(key=lambda line: line["at"])
    out = [json.loads(row) for row in replayed(fleet, encoded(lines)).splitlines()]
    assert not [row for row in out if row.get("type") == "quarantined"]
    assert not [row for row in out if str(row.get("type")).startswith("starloop.")]
    assert abs([row["level"] for row in out if row.get("type") == "forecast"][-1] - 893.0) < 15.0
