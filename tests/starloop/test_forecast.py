"""`starloop forecast`: from the log of a stopped service, and from the API of a running one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.read_model import pack_forecasts
from runtime.data_dir import SERVICE_FILE
from runtime.service_discovery import find_running_service, lock_holder
from star.analyse import DAYS_MAX, Forecast
from star.errors import InputError, LogError, Unavailable
from starloop.commands.inspect import forecast as forecast_command
from starloop.commands.inspect.forecast import command
from stream.topics import FORECASTS
from stream.transports.embedded_log.directory_lock import DirectoryLock
from stream.transports.embedded_log.sqlite_log import LOG_NAME, SqliteLog
from tests.support.fake_service_api import OIL_ROW, SALT_ROW, running_service

AT_MS = 1_764_000_000_000


def forecast_of(item: str, at_ms: int = AT_MS, level: float = 812.5, days: float = 6.0) -> Forecast:
    """A forecast with a median of `days` to empty."""
    spread = tuple(min(days * factor, DAYS_MAX) for factor in (0.5, 0.6, 0.7, 0.85, 1.0, 1.2, 1.4, 1.6, 2.0))
    return Forecast(
        item=item,
        at_ms=at_ms,
        level=level,
        days=spread,
        rate_per_day=12.0,
        trust=0.93,
        model="run-out@1:abc",
        readings=40,
        reading_ms=at_ms - 60_000,
        reading=level,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data of a stopped service: thirty forecasts of oil, and an older one of salt."""
    with SqliteLog(tmp_path / LOG_NAME) as log:
        log.append(FORECASTS, [pack_forecasts([forecast_of("softener/salt", days=9_000.0)])])
        for minute in range(30):
            log.append(
                FORECASTS, [pack_forecasts([forecast_of("tank-7/oil", AT_MS + minute * 60_000, 800.0 - minute)])]
            )
    return tmp_path


def forecast_json(*arguments: str) -> list[Any]:
    """JSON lines printed by the command."""
    result = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_latest_of_an_item_is_read_from_a_stopped_service_s_log(data: Path) -> None:
    """One row, from the newest record, in the format of the API."""
    rows = forecast_json("tank-7/oil", "--data", str(data))
    assert [(row["item"], row["forecast"]["level"], row["forecast"]["at"]) for row in rows] == [
        ("tank-7/oil", 771.0, (AT_MS + 29 * 60_000) / 1000)
    ]
    assert list(rows[0]["forecast"]["days_to_empty"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]


def test_without_an_item_every_one_is_shown_however_far_back(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All items by name, although the log is read backwards in small batches."""
    monkeypatch.setattr(forecast_command, "READ_BATCH_RECORDS", 7)
    assert [row["item"] for row in forecast_json("--data", str(data))] == ["softener/salt", "tank-7/oil"]


def test_a_person_reads_level_days_and_how_sure(data: Path) -> None:
    """One line per item; more than ten years is not given in days."""
    lines = CliRunner().invoke(command, ["--data", str(data)]).stdout.splitlines()
    assert (
        lines[1]
        == "tank-7/oil: 771, empty in 6.0 days (90 % interval: 3.6 to 9.6 days), trust 93%, as of 2025-11-24T16:29Z"
    )
    assert "to years" in lines[0] or "lasts for years" in lines[0]


def test_an_item_that_is_unknown_is_reported(data: Path) -> None:
    """The error says what was expected."""
    with pytest.raises(InputError, match="tank-9/oil: no forecast"):
        CliRunner().invoke(command, ["tank-9/oil", "--data", str(data)], catch_exceptions=False)


def test_a_directory_without_a_log_is_reported(tmp_path: Path) -> None:
    """The error says what was expected."""
    with pytest.raises(LogError, match="no such log"):
        CliRunner().invoke(command, ["--data", str(tmp_path)], catch_exceptions=False)


def test_a_running_service_is_asked(tmp_path: Path) -> None:
    """With the token of the service; one item or all, with units."""
    with running_service(tmp_path):
        assert forecast_json("--data", str(tmp_path)) == [OIL_ROW, SALT_ROW]
        assert forecast_json("tank-7/oil", "--data", str(tmp_path)) == [OIL_ROW]
        line = CliRunner().invoke(command, ["--data", str(tmp_path)]).stdout
        assert line.startswith("tank-7/oil: 812.5 L, empty in 6.0 days")
        assert line.endswith("x/salt: no reading yet\n")
        with pytest.raises(InputError, match="answers 404: no such item"):
            CliRunner().invoke(command, ["tank-9/oil", "--data", str(tmp_path)], catch_exceptions=False)


def test_a_token_that_is_not_the_service_s_is_refused(tmp_path: Path) -> None:
    """The error of the service is shown."""
    with running_service(tmp_path, token="other"), pytest.raises(InputError, match="answers 401"):
        CliRunner().invoke(command, ["--data", str(tmp_path)], catch_exceptions=False)


def test_the_file_of_a_killed_service_is_not_taken_for_a_running_one(data: Path) -> None:
    """The lock is free, so the log is read instead."""
    (data / SERVICE_FILE).write_text(json.dumps({"pid": os.getpid(), "mqtt_port": 1, "http_port": 1, "token": ""}))
    assert find_running_service(data) is None
    assert len(forecast_json("--data", str(data))) == 2


def test_a_service_that_does_not_answer_or_a_damaged_file_is_reported(tmp_path: Path) -> None:
    """The error has the address, or the file with the remedy."""
    lock = DirectoryLock(tmp_path)
    try:
        assert lock_holder(tmp_path) == os.getpid()
        (tmp_path / SERVICE_FILE).write_text(
            json.dumps({"pid": os.getpid(), "mqtt_port": 1, "http_port": 9, "token": ""})
        )
        with pytest.raises(Unavailable, match=r"items.* does not answer"):
            CliRunner().invoke(command, ["--data", str(tmp_path)], catch_exceptions=False)
        (tmp_path / SERVICE_FILE).write_text("{")
        with pytest.raises(InputError, match="restart the service"):
            CliRunner().invoke(command, ["--data", str(tmp_path)], catch_exceptions=False)
    finally:
        lock.release()
