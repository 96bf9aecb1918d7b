"""`starloop decode` shows what would be read, or why it would be put aside."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from click.testing import CliRunner

from starloop.commands.data.decode import command

TOPIC = "starloop/v1/tank-7/telemetry"
FLEET = """
[[customers]]
id = "maria"
[[devices]]
id = "tank-7"
customer = "maria"
profile = "level-tank"
slots.oil = { capacity = 1500.0 }
"""


def test_an_operator_sees_the_readings_of_a_payload() -> None:
    """One JSON object on standard output, exit 0."""
    payload = b'{"at": "2026-03-01T08:00:00Z", "values": {"oil": 812.5}}'
    result = CliRunner().invoke(command, ["--topic", TOPIC], input=payload)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "device": "tank-7",
        "at": 1772352000.0,
        "values": {"oil": {"value": 812.5, "unit": None}},
        "adapter": "canonical",
    }


def test_a_payload_without_a_time_is_of_its_arrival(tmp_path: Path) -> None:
    """--at stands for the arrival; the payload may come from a file."""
    (tmp_path / "payload").write_bytes(b'[{"n": "oil", "u": "l", "v": 4}]')
    result = CliRunner().invoke(command, ["--topic", TOPIC, "--at", "1764000000", str(tmp_path / "payload")])
    assert json.loads(result.stdout) == {
        "device": "tank-7",
        "at": 1764000000.0,
        "values": {"oil": {"value": 4.0, "unit": "l"}},
        "adapter": "senml",
    }


def test_a_payload_of_several_moments_shows_the_latest_and_all() -> None:
    """The object has its usual form; `readings` loses none."""
    payload = b'[{"at": 20, "values": {"oil": 2, "t": 9}}, {"at": 10, "values": {"oil": 1}}]'
    said = json.loads(CliRunner().invoke(command, ["--topic", TOPIC], input=payload).stdout)
    assert said["at"] == 20.0
    assert {name: value["value"] for name, value in said["values"].items()} == {"oil": 2.0, "t": 9.0}
    assert [row["at"] for row in said["readings"]] == [20.0, 10.0]


def test_a_payload_that_cannot_be_read_gives_the_reason_and_exit_status_1() -> None:
    """The reason of the quarantine, as replay prints it."""
    result = CliRunner().invoke(command, ["--topic", TOPIC], input=b'{"values": {"oil": true}}', standalone_mode=False)
    assert result.return_value == 1
    assert json.loads(result.stdout) == {
        "type": "quarantined",
        "topic": TOPIC,
        "reason": "values.oil is true: expected a number",
    }


def test_many_payloads_give_one_line_each_in_order() -> None:
    """--jsonl answers every line, bad ones too, and is done when all are answered."""
    payloads = [b'{"at": 1, "values": {"oil": 1}}', b"?", b'{"at": 3, "values": {"oil": 3}}']
    lines = [json.dumps({"topic": TOPIC, "payload_base64": base64.b64encode(p).decode()}) for p in payloads]
    result = CliRunner().invoke(command, ["--jsonl"], input="\n".join([*lines, "?", '{"topic": "a"}', ""]))
    said = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one.get("at", one.get("type")) for one in said] == [1.0, "quarantined", 3.0, "quarantined", "quarantined"]
    assert result.exit_code == 0


def test_a_fleet_names_units_and_knows_its_devices(tmp_path: Path) -> None:
    """With --fleet a device that is not in it is put aside, as the service would."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET)
    arguments = ["--fleet", str(fleet), "--topic", "starloop/v1/tank-8/telemetry"]
    said = json.loads(CliRunner().invoke(command, arguments, input=b'{"values": {"oil": 1}}').stdout)
    assert said["reason"] == 'the device is "tank-8": expected the id of a device of the fleet'


def test_wrong_use_and_bad_input_have_different_exit_statuses() -> None:
    """Neither --topic nor --jsonl, or an adapter that is not there, is wrong use."""
    assert "expected one of" in str(CliRunner().invoke(command, [], input=b"1").exception)
    result = CliRunner().invoke(command, ["--topic", TOPIC, "--adapter", "morse"], input=b"1")
    assert "expected one of canonical, senml" in str(result.exception)
