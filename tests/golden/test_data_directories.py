"""Data directories that earlier builds wrote are opened by this one: log, state, store and sessions."""

from __future__ import annotations

import gzip
import json
import tarfile
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from click.testing import CliRunner
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from starloop.cli import cli
from tests.golden.recorded import FOLDER, agree, same_processor, unzipped
from tests.golden.reworded import as_worded_now
from tests.support.server_process import free_port
from tests.support.service_process import ServiceUnderTest

BUILDS = sorted(path.name for path in (FOLDER / "data").iterdir())
LISTENER = "golden-listener"
HEARD_S = 20.0


def opened(build: str, tmp_path: Path) -> Path:
    """A copy of the data directory that the build wrote."""
    with tarfile.open(FOLDER / "data" / build / "data.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "data"


def printed(*arguments: str) -> str:
    """What a command prints."""
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("build", BUILDS)
def test_receipts_of_an_earlier_build_read_as_they_did(build: str, tmp_path: Path) -> None:
    """`why` of each need, reaction and decision of the data directory, in words, as JSON and in French."""
    data = opened(build, tmp_path)
    recorded = json.loads(
        as_worded_now(gzip.decompress((FOLDER / "data" / build / "why.json.gz").read_bytes()).decode(), stored=True)
    )
    assert len(recorded) > 100
    for arguments, text in recorded.items():
        assert printed("why", *arguments.split(" "), "--data", str(data)) == text


@pytest.mark.parametrize("build", BUILDS)
def test_the_state_of_an_earlier_build_forecasts_as_it_did(build: str, tmp_path: Path) -> None:
    """`forecast` on the checkpoint and the log that the build left."""
    data = opened(build, tmp_path)
    now = [json.loads(line) for line in printed("forecast", "--data", str(data), "--json").splitlines()]
    recorded = (FOLDER / "data" / build / "forecast.json").read_text()
    assert agree([json.loads(line) for line in recorded.splitlines()], now)


@pytest.mark.parametrize("build", BUILDS)
def test_the_log_of_an_earlier_build_exports_and_replays_as_it_did(build: str, tmp_path: Path) -> None:
    """`log export` gives the same lines, and their replay the same reactions."""
    data, live, out = opened(build, tmp_path), tmp_path / "live.jsonl", tmp_path / "out.jsonl"
    printed("log", "export", "--data", str(data), "--out", str(live))
    assert live.read_bytes() == unzipped(FOLDER / "data" / build / "log-export.jsonl.gz")
    printed("replay", "--fleet", str(data / "fleet.toml"), "--readings", str(live), "--out", str(out))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    reactions = as_worded_now(unzipped(FOLDER / "data" / build / "reactions.jsonl.gz").decode())
    recorded = [json.loads(line) for line in reactions.splitlines()]
    now = [line for line in lines if "tick" not in line]
    assert now == recorded if same_processor() else agree(recorded, now)


@pytest.mark.parametrize("build", BUILDS)
def test_a_service_goes_on_where_an_earlier_build_stopped(build: str, tmp_path: Path) -> None:
    """It starts on the directory, and a subscriber that was away gets the reactions that it missed."""
    data, heard, enough = opened(build, tmp_path), [], threading.Event()
    reactions = [json.loads(line) for line in unzipped(FOLDER / "data" / build / "reactions.jsonl.gz").splitlines()]
    service = ServiceUnderTest(tmp_path, free_port(), (data / "fleet.toml").read_text())
    try:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=LISTENER, protocol=mqtt.MQTTv5)

        def on_message(_: object, __: object, message: mqtt.MQTTMessage) -> None:
            heard.append(json.loads(message.payload)["id"])
            enough.set()

        client.on_message = on_message
        keep = Properties(PacketTypes.CONNECT)
        keep.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", service.port, clean_start=False, properties=keep)
        client.loop_start()
        assert enough.wait(HEARD_S)
        client.disconnect()
        client.loop_stop()
    finally:
        assert service.stop() == 0
    assert set(heard) <= {reaction["id"] for reaction in reactions}
