"""The read model: thinned, disposable, and built again from the log alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from console.views import KEEP_MS, POINT_EVERY_MS, Projection, pack_forecasts, unpack_forecasts
from star.analyse import Forecast
from star.times import DAY_MS, MINUTE_MS
from tests.console.street import NOW_MS, catalogue_of, forecast_of


class LogInMemory:
    """The topic as a list: star.ports.Log for one topic."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []

    def append(self, topic: str, values: Sequence[bytes]) -> int:
        self.rows += values
        return len(self.rows) - len(values)

    def read(self, topic: str, start: int, limit: int) -> list[tuple[int, bytes]]:
        return list(enumerate(self.rows))[start : start + limit]

    def end(self, topic: str) -> int:
        return len(self.rows)


@pytest.fixture
def oil() -> Forecast:
    return forecast_of(catalogue_of(), "tank-7/oil")


def test_a_forecast_survives_the_way_through_the_log(oil: Forecast) -> None:
    """Packed and unpacked it is the same; a record that is one object instead of a list is read too."""
    import json

    assert unpack_forecasts(pack_forecasts([oil, oil])) == [oil, oil]
    assert unpack_forecasts(json.dumps(asdict(oil)).encode()) == [oil]


def test_history_keeps_one_point_a_quarter_of_an_hour(tmp_path: Path, oil: Forecast) -> None:
    """A hundred looks in 100 minutes leave seven points, the first of each quarter; the latest is the last look."""
    views = Projection(tmp_path / "console.db")
    start = NOW_MS - NOW_MS % POINT_EVERY_MS
    views.take([replace(oil, at_ms=start + n * MINUTE_MS, level=900.0 - n) for n in range(100)])
    points = views.history("tank-7/oil", 0, start + DAY_MS)
    assert [point.at_ms - start for point in points] == [n * POINT_EVERY_MS for n in range(7)]
    assert views.latest()["tank-7/oil"].level == 801.0


def test_a_late_record_does_not_replace_a_newer_forecast(tmp_path: Path, oil: Forecast) -> None:
    """The latest is the latest by its own time, not by when it was read."""
    views = Projection(tmp_path / "console.db")
    views.take([oil, replace(oil, at_ms=oil.at_ms - DAY_MS, level=1.0)])
    assert views.latest(["tank-7/oil"])["tank-7/oil"].level == oil.level


def test_the_pages_data_can_be_deleted_and_comes_back_the_same(tmp_path: Path, oil: Forecast) -> None:
    """A deleted file is built again from the topic: same latest, same history."""
    log = LogInMemory()
    log.append("forecasts", [pack_forecasts([replace(oil, at_ms=oil.at_ms + n * DAY_MS)]) for n in range(5)])
    first = Projection(tmp_path / "console.db")
    assert first.catch_up(log) == {"tank-7/oil"}
    assert first.catch_up(log) == set()
    before = (first.latest(), first.history("tank-7/oil", 0, 2 * NOW_MS))
    first.close()
    for name in ("console.db", "console.db-wal", "console.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    again = Projection(tmp_path / "console.db")
    again.catch_up(log)
    assert (again.latest(), again.history("tank-7/oil", 0, 2 * NOW_MS)) == before


@pytest.mark.parametrize("damage", ["garbage", "version"])
def test_a_damaged_or_foreign_file_is_built_again_not_complained_about(
    tmp_path: Path, oil: Forecast, damage: str
) -> None:
    """Nobody loses anything: it holds nothing that the log does not."""
    path = tmp_path / "console.db"
    if damage == "garbage":
        path.write_bytes(b"not a database at all" * 500)
    else:
        db = sqlite3.connect(path)
        db.execute("pragma user_version = 99")
        db.commit()
        db.close()
    views = Projection(path)
    views.take([oil], 7)
    assert views.next_offset() == 7
    assert set(views.latest()) == {"tank-7/oil"}


def test_points_older_than_400_days_are_let_go(tmp_path: Path, oil: Forecast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep after so many points removes what is older than KEEP_MS before the newest."""
    monkeypatch.setattr("console.views.PRUNE_EVERY", 2)
    views = Projection(tmp_path / "console.db")
    views.take([replace(oil, at_ms=NOW_MS - KEEP_MS - DAY_MS), replace(oil, at_ms=NOW_MS)])
    assert [point.at_ms for point in views.history("tank-7/oil", 0, NOW_MS)] == [NOW_MS]


async def test_it_follows_the_log_and_says_what_changed(tmp_path: Path, oil: Forecast) -> None:
    """A record that is appended while it follows is told within a moment, and following ends when cancelled."""
    log = LogInMemory()
    views = Projection(tmp_path / "console.db")
    told: asyncio.Queue[set[str]] = asyncio.Queue()
    task = asyncio.create_task(views.follow(log, told.put_nowait, every_s=0.01))
    log.append("forecasts", [pack_forecasts([oil])])
    assert await asyncio.wait_for(told.get(), 5) == {"tank-7/oil"}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
