"""The console's read model: the latest forecast and the level history of each item, in an SQLite file of its own.

Disposable: a deleted file is built again from the log, as far back as that goes. It consumes the log independently of the
loop, which never waits for it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from config.sqlite_file import open_sqlite
from console.backend import LevelPoint
from star.analyse import Forecast, forecast_from_fields
from star.errors import LogDamaged, LogError
from star.times import DAY_MS, MINUTE_MS
from stream.topics import FORECASTS, QUARANTINE
from stream.transports.log_client import FetchedRecord, LogClient, PartitionRef

POINT_INTERVAL_MS = 15 * MINUTE_MS
"""Interval of event time of which an item's history has at most one point."""
RETENTION_MS = 400 * DAY_MS
"""Age of the oldest point, relative to the newest: a year and some, as long as the pages show."""
READ_RECORDS_MAX = 2_000
"""Most records that are read from the log at a time."""
QUARANTINED_MAX = 10_000
"""Most quarantined payloads that the pages can show; the log's topic has all of them."""
QUERY_NAMES_MAX = 500
"""Most names in one query: every build of SQLite allows at least 999 variables."""
PRUNE_EVERY = 50_000
"""Points written between two deletions of points older than RETENTION_MS."""

FORMAT = 2
"""Format number of the file. A file of an older format is built again from the log."""
_SCHEMA = """
create table if not exists place (
  topic text not null, part integer not null, next_offset integer not null, primary key (topic, part)
) without rowid;
create table if not exists quarantined (place integer primary key, body blob not null);
create table if not exists latest (item text primary key, at_ms integer not null, body text not null) without rowid;
create table if not exists point (
  item text not null, slot_ms integer not null, at_ms integer not null, level real not null, days text not null,
  primary key (item, slot_ms)
) without rowid;
"""
_log = structlog.get_logger("console.read_model")


def pack_forecasts(forecasts: Sequence[Forecast]) -> bytes:
    """A record of the topic of forecasts: a JSON list."""
    return json.dumps([asdict(forecast) for forecast in forecasts], ensure_ascii=False, allow_nan=False).encode()


def unpack_forecasts(wire: bytes) -> list[Forecast]:
    """The forecasts of a record: a JSON object, or a list of them."""
    body: Any = json.loads(wire)
    return [forecast_from_fields(row) for row in (body if isinstance(body, list) else [body])]


class ReadModel:
    """The read model. Thread-safe; one lock serializes reads and writes.

    A file that is damaged or of an older format is deleted and built again. Raises NewerFormat for a newer one.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._written = 0
        try:
            self._db = self._open(path)
        except sqlite3.DatabaseError:
            _log.warning("rebuilt_read_model", path=str(path))
            for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
                name.unlink(missing_ok=True)
            self._db = self._open(path)

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        with closing(sqlite3.connect(path)) as db:
            if 0 < db.execute("pragma user_version").fetchone()[0] < FORMAT:
                raise sqlite3.DatabaseError("an older format")
        # What a power cut loses is read from the log again, so commits do not wait for the disk.
        return open_sqlite(path, schema=_SCHEMA, format_number=FORMAT, synchronous="OFF")

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()

    def next_offsets(self) -> dict[PartitionRef, int]:
        """The next offset to read of each topic and partition."""
        with self._lock:
            rows = self._db.execute("select topic, part, next_offset from place").fetchall()
        return {(topic, partition): offset for topic, partition, offset in rows}

    def apply_forecasts(
        self, forecasts: Sequence[Forecast], next_offsets: Mapping[PartitionRef, int] | None = None
    ) -> None:
        """Applies forecasts, in order, in one transaction with the offsets that follow them."""
        slots = [
            (f.item, f.at_ms // POINT_INTERVAL_MS, f.at_ms, f.level, json.dumps(f.published_quantiles()))
            for f in forecasts
        ]
        with self._lock:
            self._db.execute("begin")
            self._db.executemany(
                "insert into latest values (?, ?, ?) on conflict (item) do update set at_ms = excluded.at_ms,"
                " body = excluded.body where excluded.at_ms >= latest.at_ms",
                [(f.item, f.at_ms, json.dumps(asdict(f), ensure_ascii=False)) for f in forecasts],
            )
            # The first point of each interval stays, so that reading the same records again changes nothing.
            self._db.executemany("insert or ignore into point values (?, ?, ?, ?, ?)", slots)
            self._store_offsets(next_offsets or {})
            self._written += len(slots)
            if self._written >= PRUNE_EVERY:
                self._prune()
            self._db.execute("commit")

    def add_quarantined(self, rows: Sequence[tuple[int, bytes]], next_offsets: Mapping[PartitionRef, int]) -> None:
        """Adds quarantined payloads, as (offset, record)."""
        with self._lock:
            self._db.execute("begin")
            self._db.executemany("insert or ignore into quarantined values (?, ?)", rows)
            self._db.execute(
                "delete from quarantined where place <= (select max(place) from quarantined) - ?", (QUARANTINED_MAX,)
            )
            self._store_offsets(next_offsets)
            self._db.execute("commit")

    def _store_offsets(self, next_offsets: Mapping[PartitionRef, int]) -> None:
        self._db.executemany(
            "insert into place values (?, ?, ?) on conflict (topic, part) do update set next_offset = excluded.next_offset",
            [(topic, partition, offset) for (topic, partition), offset in next_offsets.items()],
        )

    def _prune(self) -> None:
        self._written = 0
        newest = self._db.execute("select max(at_ms) from latest").fetchone()[0] or 0
        self._db.execute("delete from point where at_ms < ?", (newest - RETENTION_MS,))

    def apply_records(self, records: Sequence[FetchedRecord]) -> set[str]:
        """Applies records of the log; returns the items that changed."""
        forecasts: list[Forecast] = []
        places: dict[PartitionRef, int] = {}
        quarantined: list[tuple[int, bytes]] = []
        for record in records:
            if record.topic == QUARANTINE:
                quarantined.append((record.offset, record.value))
            else:
                forecasts += unpack_forecasts(record.value)
            places[record.topic, record.partition] = record.offset + 1
        if quarantined:
            self.add_quarantined(
                quarantined, {place: offset for place, offset in places.items() if place[0] == QUARANTINE}
            )
        self.apply_forecasts(forecasts, {place: offset for place, offset in places.items() if place[0] == FORECASTS})
        return {forecast.item for forecast in forecasts}

    async def follow(self, log: LogClient, changed: Callable[[set[str]], None]) -> None:
        """Follows the log until cancelled; calls `changed` with the items that changed. Writes in a worker thread."""
        follower = log.subscribe([FORECASTS, QUARANTINE], start_offsets=self.next_offsets())
        started = False
        try:
            while True:
                try:
                    if not started:
                        await follower.start()
                        started = True
                    records = await follower.fetch(READ_RECORDS_MAX, wait_s=1.0)
                except LogDamaged:
                    raise
                except LogError as error:
                    _log.info("lost_log", error=str(error))
                    await asyncio.sleep(1.0)
                    continue
                items = await asyncio.to_thread(self.apply_records, records) if records else set()
                if items:
                    changed(items)
        finally:
            await follower.close()

    def quarantine(self, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Quarantined records, newest first, as (offset, record). before: only those with a smaller offset."""
        with self._lock:
            rows = self._db.execute(
                "select place, body from quarantined where place < ? order by place desc limit ?",
                (1 << 62 if before is None else before, limit),
            ).fetchall()
        return [(int(place), bytes(body)) for place, body in rows]

    def latest_forecasts(self, items: Collection[str] | None = None) -> dict[str, Forecast]:
        """The latest forecast of each of `items` (None: of all) that has one."""
        bodies: list[str] = []
        with self._lock:
            if items is None:
                bodies = [row[0] for row in self._db.execute("select body from latest order by item")]
            else:
                names = list(items)
                for start in range(0, len(names), QUERY_NAMES_MAX):
                    part = names[start : start + QUERY_NAMES_MAX]
                    marks = ",".join("?" * len(part))
                    bodies += [r[0] for r in self._db.execute(f"select body from latest where item in ({marks})", part)]
        forecasts = [forecast_from_fields(json.loads(body)) for body in bodies]
        return {forecast.item: forecast for forecast in forecasts}

    def level_history(self, item: str, start_ms: int, end_ms: int) -> list[LevelPoint]:
        """The item's points from start_ms to end_ms, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "select at_ms, level from point where item = ? and slot_ms >= ? and at_ms <= ? order by slot_ms",
                (item, start_ms // POINT_INTERVAL_MS, end_ms),
            ).fetchall()
        return [LevelPoint(at_ms=at_ms, level=level) for at_ms, level in rows if at_ms >= start_ms]
