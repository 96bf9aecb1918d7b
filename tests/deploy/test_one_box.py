"""One box: its units for systemd, and its backup, taken beside the running service and put back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from stream.transports.embedded_log.sqlite_log import SqliteLog
from tests.deploy.deploy_tools import DEPLOY
from tests.support.server_process import free_port
from tests.support.service_process import ServiceUnderTest

FLEET = (DEPLOY / "fleet" / "fleet.toml").read_text()
BACKUP = DEPLOY / "backup"


def publish(port: int, level: float) -> None:
    """A reading, acknowledged on return."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "tank-7")
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("starloop/v1/tank-7/telemetry", f'{{"values": {{"oil": {level}}}}}', qos=1).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def readings(folder: Path) -> int:
    """Records of readings in a log."""
    with SqliteLog(folder / "log.db", read_only=True) as log:
        rows = log.read("input", 0, 100_000)
    return sum(wire[:1] == b"R" for _, wire in rows)


def test_a_backup_taken_while_it_runs_can_be_put_back(tmp_path: Path) -> None:
    """Everything acknowledged before the copy is in it; the service starts on it, and goes on."""
    service = ServiceUnderTest(tmp_path, free_port(), FLEET)
    for level in (900.0, 700.0, 92.5):
        publish(service.port, level)
    subprocess.run([BACKUP, service.data, tmp_path / "copy"], check=True)
    copied = readings(tmp_path / "copy")
    assert copied == readings(service.data) >= 1
    publish(service.port, 80.0)
    service.kill()
    shutil.rmtree(service.data)
    shutil.copytree(tmp_path / "copy", service.data)
    service.start()
    publish(service.port, 79.0)
    assert service.stop() == 0
    assert readings(service.data) == copied + 1
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700


def test_a_backup_of_nothing_is_refused(tmp_path: Path) -> None:
    """And one over another backup: the message says what was expected."""
    done = subprocess.run([BACKUP, tmp_path, tmp_path / "copy"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "log.db" in done.stderr
    (tmp_path / "log.db").touch()
    done = subprocess.run([BACKUP, tmp_path, tmp_path], capture_output=True, text=True, check=False)
    assert "is there already" in done.stderr


@pytest.mark.parametrize("unit", ["starloop.service", "starloop-edge.service"])
def test_systemd_takes_the_unit(unit: str, tmp_path: Path) -> None:
    """systemd-analyze finds nothing wrong but that the program is not installed where the guide puts it."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not here")
    copy = tmp_path / unit
    copy.write_text((DEPLOY / "systemd" / unit).read_text().replace("/opt/starloop/.venv/bin/starloop", "/bin/true"))
    done = subprocess.run([analyze, "verify", copy], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if unit in line] == []
