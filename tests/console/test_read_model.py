"""The read model: thinned, disposable, and built again from the log alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from console.read_model import POINT_INTERVAL_MS, RETENTION_MS, ReadModel, pack_forecasts, unpack_forecasts
from star.analyse import Forecast
from star.times import DAY_MS, MINUTE_MS
from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.log_client import FetchedRecord
from tests.support.console.sample_fleet import NOW_MS, catalogue_of, forecast_of


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with SqliteLog(tmp_path / "log.db") as log:
        yield log


def records_of(log: SqliteLog) -> list[FetchedRecord]:
    """All that the topic holds, as a follower gives it."""
    rows = log.read("forecasts", 0, 1_000)
    return [FetchedRecord("forecasts", 0, offset, NOW_MS, None, wire) for offset, wire in rows]


@pytest.fixture
def oil() -> Forecast:
    return forecast_of(catalogue_of(), "tank-7/oil")


def test_a_forecast_is_the_same_after_the_log(oil: Forecast) -> None:
    """Packed and unpacked it is the same; a record that is one object instead of a list is read too."""
    import json

    assert unpack_forecasts(pack_forecasts([oil, oil])) == [oil, oil]
    assert unpack_forecasts(json.dumps(asdict(oil)).encode()) == [oil]


def test_history_keeps_one_point_a_quarter_of_an_hour(tmp_path: Path, oil: Forecast) -> None:
    """A hundred looks in 100 minutes leave seven points, the first of each quarter; the latest is the last look."""
    views = ReadModel(tmp_path / "console.db")
    start = NOW_MS - NOW_MS % POINT_INTERVAL_MS
    views.apply_forecasts([replace(oil, at_ms=start + n * MINUTE_MS, level=900.0 - n) for n in range(100)])
    points = views.level_history("tank-7/oil", 0, start + DAY_MS)
    assert [point.at_ms - start for point in points] == [n * POINT_INTERVAL_MS for n in range(7)]
    assert views.latest_forecasts()["tank-7/oil"].level == 801.0


def test_a_late_record_does_not_replace_a_newer_forecast(tmp_path: Path, oil: Forecast) -> None:
    """The latest is the latest by its own time, not by when it was read."""
    views = ReadModel(tmp_path / "console.db")
    views.apply_forecasts([oil, replace(oil, at_ms=oil.at_ms - DAY_MS, level=1.0)])
    assert views.latest_forecasts(["tank-7/oil"])["tank-7/oil"].level == oil.level


def test_the_pages_data_can_be_deleted_and_comes_back_the_same(tmp_path: Path, oil: Forecast, log: SqliteLog) -> None:
    """A deleted file is built again from the topic: same latest, same history."""
    log.append("forecasts", [pack_forecasts([replace(oil, at_ms=oil.at_ms + n * DAY_MS)]) for n in range(5)])
    first = ReadModel(tmp_path / "console.db")
    assert first.apply_records(records_of(log)) == {"tank-7/oil"}
    assert first.next_offsets() == {("forecasts", 0): 5}
    before = (first.latest_forecasts(), first.level_history("tank-7/oil", 0, 2 * NOW_MS))
    first.close()
    for name in ("console.db", "console.db-wal", "console.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    again = ReadModel(tmp_path / "console.db")
    again.apply_records(records_of(log))
    assert (again.latest_forecasts(), again.level_history("tank-7/oil", 0, 2 * NOW_MS)) == before


@pytest.mark.parametrize("damage", ["garbage", "format"])
def test_a_damaged_or_older_file_is_built_again(tmp_path: Path, oil: Forecast, damage: str) -> None:
    """Nobody loses anything: it holds nothing that the log does not."""
    path = tmp_path / "console.db"
    if damage == "garbage":
        path.write_bytes(b"not a database at all" * 500)
    else:
        db = sqlite3.connect(path)
        db.execute("pragma user_version = 1")
        db.commit()
        db.close()
    views = ReadModel(path)
    views.apply_forecasts([oil], {("forecasts", 3): 7})
    assert views.next_offsets() == {("forecasts", 3): 7}
    assert set(views.latest_forecasts()) == {"tank-7/oil"}


def test_points_older_than_400_days_are_let_go(tmp_path: Path, oil: Forecast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep after so many points removes what is older than KEEP_MS before the newest."""
    monkeypatch.setattr("console.read_model.PRUNE_EVERY", 2)
    views = ReadModel(tmp_path / "console.db")
    views.apply_forecasts([replace(oil, at_ms=NOW_MS - RETENTION_MS - DAY_MS), replace(oil, at_ms=NOW_MS)])
    assert [point.at_ms for point in views.level_history("tank-7/oil", 0, NOW_MS)] == [NOW_MS]


def test_quarantined_payloads_are_newest_first_and_bounded_in_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages show the latest; the log has them all."""
    monkeypatch.setattr("console.read_model.QUARANTINED_MAX", 3)
    views = ReadModel(tmp_path / "console.db")
    views.apply_records([FetchedRecord("quarantine", 0, place, NOW_MS, None, b"%d" % place) for place in range(5)])
    assert views.quarantine(None, 2) == [(4, b"4"), (3, b"3")]
    assert views.quarantine(3, 10) == [(2, b"2")]


async def test_it_follows_the_log_and_reports_what_changed(tmp_path: Path, oil: Forecast, log: SqliteLog) -> None:
    """A record that is appended while it follows is told within a moment, and following ends when cancelled."""
    views = ReadModel(tmp_path / "console.db")
    told: asyncio.Queue[set[str]] = asyncio.Queue()
    task = asyncio.create_task(views.follow(EmbeddedClient(log), told.put_nowait))
    log.append("forecasts", [pack_forecasts([oil])])
    assert await asyncio.wait_for(told.get(), 5) == {"tank-7/oil"}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
