"""`starloop doctor`: each kind of problem is found with its remedy, and a sound installation passes."""

from __future__ import annotations

import json
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from config.settings import Settings
from models.cards import MODEL_FILE, SHIPPED_REGISTRY
from operations.diagnostics.data import access_finding, data_findings, free_space_finding, log_findings, service_finding
from operations.diagnostics.finding import Finding
from operations.diagnostics.machine import (
    clock_finding,
    machine_findings,
    open_files_finding,
    packages_finding,
    python_finding,
    sqlite_finding,
)
from operations.diagnostics.setup import (
    HIDDEN,
    model_findings,
    port_finding,
    secret_findings,
    settings_findings,
    settings_in_force,
)
from operations.diagnostics.store import store_findings
from reactor.channels.signing_secret import SECRET_FILE, installation_secret
from reactor.store.sql import SqlStore
from reactor.unit_of_work import StepResult
from runtime.data_dir import STORE_FILE
from star.records import Quarantined
from starloop.commands.inspect.doctor import command
from stream.partition.partitioner import encode_quarantined
from stream.topics import QUARANTINE
from stream.transports.embedded_log.directory_lock import DirectoryLock
from stream.transports.embedded_log.sqlite_log import LOG_NAME, SqliteLog, wall_clock_ms
from tests.support.delivery_fleet import fleet_of, reaction_of
from tests.support.fake_service_api import running_service

NOW_MS = 1_790_000_000_000


@pytest.fixture(autouse=True)
def any_free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker, a demo or a service may run beside the tests, at the ports that are the defaults."""
    for name in ("STARLOOP_MQTT_PORT", "STARLOOP_HTTP_PORT", "STARLOOP_HEALTH_PORT"):
        monkeypatch.setenv(name, "0")


def states(findings: list[Finding]) -> dict[str, str]:
    """The state of each finding by name."""
    return {finding.name: finding.state for finding in findings}


def report(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON of the command."""
    result = CliRunner().invoke(command, [*arguments, "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_a_sound_set_up_passes_with_exit_0(tmp_path: Path) -> None:
    """Nothing fails on this machine with a fresh log and free ports."""
    with SqliteLog(tmp_path / LOG_NAME) as log:
        log.append("input", [b"T{}"])
    status, found = report("--data", str(tmp_path))
    assert (status, found["ok"]) == (0, True)
    assert {"python", "packages", "data", "log", "models", "mqtt port"} <= {one["name"] for one in found["findings"]}


def test_something_broken_is_exit_1_and_names_the_remedy(tmp_path: Path) -> None:
    """Output for people has the state, what was found, and the remedy after an arrow."""
    (tmp_path / LOG_NAME).write_bytes(b"this is no database" * 1000)
    result = CliRunner().invoke(command, ["--data", str(tmp_path)])
    assert result.exit_code == 1
    line = next(line for line in result.stdout.splitlines() if line.startswith("fail"))
    assert "log.db" in line
    assert "-> stop the service, then restore log.db from a backup" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 failed"


def test_a_wrong_setting_is_found_and_the_rest_still_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named; the other checks run on the defaults."""
    monkeypatch.setenv("STARLOOP_HTTP_PORT", "abc")
    status, found = report("--data", str(tmp_path))
    assert status == 1
    assert "STARLOOP_HTTP_PORT" in found["findings"][0]["said"]
    assert "python" in {one["name"] for one in found["findings"]}


def test_a_misspelt_setting_is_a_warning_with_what_was_meant() -> None:
    """STARLOOP_ and no setting of that name."""
    found = list(settings_findings(Settings(), {"STARLOOP_MQTT_POTR": "1"}))
    assert (found[0].state, "STARLOOP_MQTT_PORT" in found[0].remedy) == ("warn", True)


def test_no_secret_is_ever_shown() -> None:
    """Tokens and passwords in URLs are hidden; other changed settings are shown."""
    settings = Settings(store="postgresql+psycopg://star:hunter2@db/loop", http_port=8443)
    shown = json.dumps(settings_in_force(settings)) + "".join(one.said for one in settings_findings(settings, {}))
    assert "hunter2" not in shown
    assert settings_in_force(settings)["store"] == f"postgresql+psycopg://star:{HIDDEN}@db/loop"
    assert "STARLOOP_HTTP_PORT=8443" in shown


@pytest.mark.parametrize(
    ("finding", "state"),
    [
        (python_finding((3, 10, 4)), "fail"),
        (python_finding((3, 11, 2)), "ok"),
        (python_finding((3, 14, 0)), "warn"),
        (sqlite_finding((3, 31, 1)), "fail"),
        (packages_finding(["numpy>=2.3", "surely-not-there>=1"]), "fail"),
        (packages_finding(["numpy>=99"]), "fail"),
        (packages_finding(["numpy==1.0"]), "fail"),
        (packages_finding(["numpy>=2.3", 'onnx>=1.19; extra == "train"']), "ok"),
        (clock_finding(datetime(1970, 1, 1, tzinfo=UTC)), "fail"),
        (open_files_finding(10_000, 1024), "warn"),
        (open_files_finding(10_000, 65_536), "ok"),
        (free_space_finding(Path("/"), 2**62), "fail"),
        (free_space_finding(Path("/"), 0), "ok"),
    ],
)
def test_each_check_of_the_machine_has_its_state(finding: Finding, state: str) -> None:
    """Every finding that is not ok has a remedy."""
    assert finding.state == state
    assert bool(finding.remedy) == (state != "ok")


def test_this_machine_passes_every_check() -> None:
    """The tests run here, so nothing of the machine fails."""
    assert "fail" not in states(list(machine_findings(Settings(), datetime.now(tz=UTC)))).values()


def test_a_port_in_use_is_reported_with_its_setting() -> None:
    """A port of this service is ok."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = port_finding("mqtt port", "127.0.0.1", port, None)
        assert (found.state, found.remedy) == ("fail", "stop it, or set STARLOOP_MQTT_PORT")
        assert port_finding("mqtt port", "127.0.0.1", port, port).state == "ok"
    assert port_finding("http port", "no.such.host.invalid", 80, None).state == "fail"


def test_a_model_that_does_not_match_its_card_is_found(tmp_path: Path) -> None:
    """One changed byte is enough; the registry that ships is whole; an empty one fails."""
    assert {finding.state for finding in model_findings(SHIPPED_REGISTRY)} == {"ok"}
    shutil.copytree(SHIPPED_REGISTRY, tmp_path / "registry")
    model = next((tmp_path / "registry").rglob(MODEL_FILE))
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    found = [finding for finding in model_findings(tmp_path / "registry") if finding.state == "fail"]
    assert "sha256" in found[0].said
    assert [finding.state for finding in model_findings(tmp_path / "nothing")] == ["fail"]


def test_a_secret_that_others_can_read_is_found(tmp_path: Path) -> None:
    """The installation's own is made for its owner only; a wider one is a warning with the command that closes it."""
    secret = installation_secret(tmp_path)
    assert installation_secret(tmp_path) == secret
    settings = Settings(data_dir=tmp_path)
    assert [finding.state for finding in secret_findings(settings)] == ["ok"]
    (tmp_path / SECRET_FILE).chmod(0o644)
    found = next(iter(secret_findings(settings)))
    assert (found.state, found.remedy) == ("warn", f"chmod 600 {tmp_path / SECRET_FILE}")
    gone = Settings(data_dir=tmp_path, mqtt_credentials=tmp_path / "users.toml")
    assert "fail" in {finding.state for finding in secret_findings(gone)}


def test_a_directory_that_is_not_there_or_not_ours_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing directory is only a warning, because the first start creates it."""
    assert [one.state for one in data_findings(Settings(data_dir=tmp_path / "new"), NOW_MS)] == ["warn"]
    monkeypatch.setattr("os.access", lambda *_: False)
    assert access_finding(tmp_path).state == "fail"


def test_a_clock_behind_the_log_is_found(tmp_path: Path) -> None:
    """Records of tomorrow mean that today's clock is wrong."""
    with SqliteLog(tmp_path / LOG_NAME) as log:
        log.append("input", [b"T{}"])
    assert states(list(log_findings(tmp_path / LOG_NAME, wall_clock_ms() - 86_400_000)))["clock and log"] == "fail"
    assert states(list(log_findings(tmp_path / LOG_NAME, wall_clock_ms())))["clock and log"] == "ok"


def test_quarantined_payloads_are_counted_with_the_last_reason(tmp_path: Path) -> None:
    """It is a warning while the last one is recent."""
    with SqliteLog(tmp_path / LOG_NAME) as log:
        bad = Quarantined(at_ms=NOW_MS, topic="starloop/v1/tank-7/telemetry", payload=b"{", reason="not JSON")
        log.append(QUARANTINE, [encode_quarantined(bad)] * 3)
    found = next(one for one in log_findings(tmp_path / LOG_NAME, wall_clock_ms()) if one.name == "quarantine")
    assert found.state == "warn"
    assert "3 payloads" in found.said
    assert "not JSON" in found.said
    later = [
        one for one in log_findings(tmp_path / LOG_NAME, wall_clock_ms() + 2 * 86_400_000) if one.name == "quarantine"
    ]
    assert later[0].state == "ok"


def test_a_service_is_seen_running_starting_or_hanging(tmp_path: Path) -> None:
    """No service, a responding one, one that is not ready, and one that does not respond."""
    assert service_finding(tmp_path).said == "not running"
    with running_service(tmp_path):
        assert "answers: MQTT 1883" in service_finding(tmp_path).said
    (tmp_path / "service.json").unlink()
    lock = DirectoryLock(tmp_path)
    try:
        assert service_finding(tmp_path).state == "warn"
        (tmp_path / "service.json").write_text(json.dumps({"pid": 1, "mqtt_port": 1, "http_port": 9, "token": ""}))
        assert service_finding(tmp_path).state == "fail"
    finally:
        lock.release()


def store_with(folder: Path, *, given_up: bool = False, offset: int = 0) -> None:
    """A store that consumed up to `offset` and has one order to bring to acme."""
    with SqlStore(f"sqlite:///{folder / STORE_FILE}") as store:
        store.commit(StepResult(offset=offset, at_ms=NOW_MS, reactions=(reaction_of(at_ms=NOW_MS),)), fleet_of())
        if given_up:
            row = next(row for row in store.due(NOW_MS, 10) if row.target == "supplier:acme")
            store.mark_failed(row.id, "acme answers 410: its endpoint is gone for good", next_try_ms=None)


def test_a_sound_store_passes_its_checks(tmp_path: Path) -> None:
    """It is intact, has the current schema, is not ahead of the log, and its deliveries are counted."""
    with SqliteLog(tmp_path / LOG_NAME) as log:
        log.append("input", [b"T{}"] * 5)
    store_with(tmp_path)
    found = list(store_findings(Settings(data_dir=tmp_path)))
    assert states(found) == {"store": "ok", "store and log": "ok", "deliveries": "ok"}
    assert [one.said for one in found][1:] == ["4 records behind", "2 waiting, 0 sent"]


def test_a_delivery_that_was_given_up_is_shown_with_its_error(tmp_path: Path) -> None:
    """The finding has the error of the supplier, and a remedy."""
    store_with(tmp_path, given_up=True)
    found = next(one for one in store_findings(Settings(data_dir=tmp_path)) if one.name == "given up")
    assert found.state == "warn"
    assert (
        found.said
        == "tank-7/oil/3/order/1 to supplier:acme (1 in all): acme answers 410: its endpoint is gone for good"
    )
    assert "endpoint or secret" in found.remedy


def test_a_store_from_another_backup_than_the_log_is_found(tmp_path: Path) -> None:
    """The store has consumed records that are not in the log."""
    with SqliteLog(tmp_path / LOG_NAME) as log:
        log.append("input", [b"T{}"] * 5)
    store_with(tmp_path, offset=9)
    found = next(one for one in store_findings(Settings(data_dir=tmp_path)) if one.name == "store and log")
    assert (found.state, found.said) == ("fail", "the store has consumed record 9, the log ends at 5")


def test_a_damaged_or_foreign_store_is_found(tmp_path: Path) -> None:
    """Garbage, an empty database, and one of an older version; and a server that does not answer."""
    (tmp_path / STORE_FILE).write_bytes(b"garbage" * 1000)
    settings = Settings(data_dir=tmp_path)
    assert [one.state for one in store_findings(settings)] == ["fail"]
    (tmp_path / STORE_FILE).write_bytes(b"")
    assert [(one.state, "schema none" in one.said) for one in store_findings(settings)] == [("warn", True)]
    away = Settings(data_dir=tmp_path, store="postgresql+nodriver://u:p@127.0.0.1:9/x")
    assert [one.state for one in store_findings(away)] == ["fail"]
    assert [one.state for one in store_findings(Settings(data_dir=tmp_path / "new"))] == ["ok"]
