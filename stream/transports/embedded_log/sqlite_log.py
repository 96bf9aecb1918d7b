"""The embedded log: topics of numbered records in one SQLite file, durable on return, for one process.

It is not shared between machines, and not partitioned: each topic has one partition. Appends go through one writing thread
that commits in groups (log_writer.py); reads use connections of their own and never wait for a writer. Only one process may
write; others may open the file read-only, beside it or after it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from star.errors import LogDamaged, LogError
from stream.transports.embedded_log import retention
from stream.transports.embedded_log.directory_lock import DirectoryLock
from stream.transports.embedded_log.log_file import (
    Topic,
    check_identity,
    connect,
    read_end,
    read_topics,
    translate_errors,
)
from stream.transports.embedded_log.log_writer import PENDING_BYTES_MAX, KeyedEntry, LogWriter, Transaction
from stream.transports.log_client import RECORD_BYTES_MAX

READ_BYTES_MAX = 4 << 20
"""A read ends with the record that reaches this size, whatever its limit: it bounds how long a read holds an event loop."""
LOG_NAME = "log.db"
"""The log's file in a data directory."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A stored record. at_ms: its arrival time at the log. value: None where the key was deleted."""

    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None


def wall_clock_ms() -> int:
    """The default clock of a log, for the records' arrival times and retention by age; milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class SqliteLog:
    """A log in the file `path`; implements star.ports.Log. Thread-safe.

    read_only: for commands beside a running service; takes no lock. size_max_bytes: largest size of the file, beyond which
    appends raise DiskFull. Raises LogDamaged where the file is not readable, NewerFormat where a newer Starloop wrote it,
    LogError where another process owns its directory.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        size_max_bytes: int | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.path = path
        self.read_only = read_only
        self._now_ms = now_ms
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._lock: DirectoryLock | None = None
        self._writer: LogWriter | None = None
        if read_only:
            self._check_readable()
            return
        self._lock = DirectoryLock(path.parent)
        try:
            self._writer = LogWriter(path, now_ms, size_max_bytes)
        except BaseException:
            self._lock.release()
            raise
        _fsync_directory(path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Writes what is pending, closes the file, unlocks its directory. May be called twice."""
        # The readers first: the last connection to close removes the write-ahead log, and only a writing one can.
        with self._readers_lock:
            for conn in self._readers:
                conn.close()
            self._readers.clear()
            self._local = threading.local()
        if self._writer is not None:
            self._writer.close()
        if self._lock is not None:
            self._lock.release()

    # Writing

    def append(self, topic: str, values: Sequence[bytes]) -> int:
        """Appends `values` together; on return they are on disk. Gives the first one's offset. Raises LogError."""
        if not values:
            return self.end(topic)
        run, size_bytes = _append_work(topic, values)
        return self._require_writer().submit(run, size_bytes).result()

    def append_batch(self, entries: Sequence[KeyedEntry]) -> list[int]:
        """Appends (topic, key, value) entries, all or none; on return they are on disk. Gives each one's offset."""
        run, size_bytes = _append_batch_work(entries)
        return self._require_writer().submit(run, size_bytes).result()

    async def append_async(self, topic: str, values: Sequence[bytes]) -> int:
        """As `append`, from an event loop; waits while too much is pending."""
        if not values:
            return self.end(topic)
        run, size_bytes = _append_work(topic, values)
        await self.wait_for_capacity()
        return await self._require_writer().submit_nowait(run, size_bytes)

    async def append_batch_async(self, entries: Sequence[KeyedEntry]) -> list[int]:
        """As `append_batch`, from an event loop; waits while too much is pending."""
        await self.wait_for_capacity()
        return await self.append_batch_nowait(entries)

    def append_batch_nowait(self, entries: Sequence[KeyedEntry]) -> asyncio.Future[list[int]]:
        """Queues entries at once, so that the order of calls is the order in the log.

        The future is done when they are on disk. The caller limits what it queues, by `pending_bytes` or
        `await wait_for_capacity()`.
        """
        run, size_bytes = _append_batch_work(entries)
        return self._require_writer().submit_nowait(run, size_bytes)

    @property
    def pending_bytes(self) -> int:
        """Bytes queued and not yet on disk."""
        return self._require_writer().pending_bytes

    async def wait_for_capacity(self) -> None:
        """Waits until less than PENDING_BYTES_MAX is pending."""
        while self.pending_bytes >= PENDING_BYTES_MAX:
            # An empty request is done after every request queued before it.
            await self._require_writer().submit_nowait(lambda _: None, 0)

    def create(
        self, topic: str, *, compacted: bool = False, retain_ms: int | None = None, retain_bytes: int | None = None
    ) -> None:
        """Creates a topic, or changes the retention of an existing one. Raises LogError where its kind differs."""
        self._require_writer().submit(
            lambda tx: _create_or_alter(tx, topic, compacted, retain_ms, retain_bytes), 0
        ).result()

    def commit(self, consumer: str, offsets: Mapping[str, int]) -> None:
        """Commits, for `consumer`, the offset of each topic's next record to handle; on return it is on disk."""
        self._require_writer().submit(lambda tx: _store_offsets(tx, consumer, offsets), 0).result()

    async def commit_async(self, consumer: str, offsets: Mapping[str, int]) -> None:
        """As `commit`, from an event loop; after everything queued before it."""
        await self._require_writer().submit_nowait(lambda tx: _store_offsets(tx, consumer, offsets), 0)

    def forget_consumer(self, consumer: str) -> None:
        """Deletes a consumer's committed offsets: retention no longer waits for it."""
        self._require_writer().submit(
            lambda tx: tx.conn.execute("DELETE FROM committed WHERE consumer = ?", (consumer,)).rowcount, 0
        ).result()

    def enforce_retention(self) -> int:
        """Deletes records beyond their topics' age and size; gives their number.

        Never deletes a record that a consumer of the topic has not committed, nor a topic's last one. Waits for the disk: not
        for an event loop's thread.
        """
        deleted = 0
        for topic in list(self._require_writer().topics.values()):
            with translate_errors(self.path):
                bound = retention.deletable_before(self._reader(), topic, self._now_ms())
            while bound > 0:
                count = (
                    self._require_writer()
                    .submit(partial(retention.delete_before, topic=topic, bound=bound), 0)
                    .result()
                )
                deleted += count
                if count < retention.ROWS_MAX:
                    break
        return deleted

    def add_commit_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` in the writing thread after every commit of records; gives the function that removes it."""
        return self._require_writer().add_commit_listener(listener)

    def wake_on_commit(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Calls `wake` in the running event loop after commits of records, once for those that come close together.

        Gives the function that ends it.
        """
        loop = asyncio.get_running_loop()
        scheduled = False

        def in_loop() -> None:
            nonlocal scheduled
            scheduled = False
            wake()

        def on_commit() -> None:
            # In the writing thread: one call is enough until the event loop has run it.
            nonlocal scheduled
            if not scheduled:
                scheduled = True
                loop.call_soon_threadsafe(in_loop)

        return self.add_commit_listener(on_commit)

    # Reading

    def read(self, topic: str, start: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` records from offset `start` on, in order: (offset, value). Deleted keys are left out."""
        return [
            (record.offset, record.value)
            for record in self.read_records(topic, start, limit)
            if record.value is not None
        ]

    def read_records(self, topic: str, start: int, limit: int) -> list[LogRecord]:
        """At most `limit` records, and about READ_BYTES_MAX, from offset `start` on, in order."""
        records: list[LogRecord] = []
        with translate_errors(self.path):
            conn = self._reader()
            known = self._topic(conn, topic)
            if known is None:
                return records
            size_bytes = 0
            rows = conn.execute(
                f"SELECT place, at_ms, key, value FROM {known.table} WHERE place >= ? ORDER BY place LIMIT ?",
                (start, limit),
            )
            for row in rows:
                record = LogRecord(*row)
                records.append(record)
                size_bytes += len(record.value or b"") + len(record.key or b"")
                if size_bytes >= READ_BYTES_MAX:
                    break
            rows.close()
        return records

    def end(self, topic: str) -> int:
        """The offset that the topic's next record will get."""
        if self._writer is not None:
            return self._writer.ends.get(topic, 0)
        with translate_errors(self.path):
            known = self._topic(self._reader(), topic)
            return 0 if known is None else read_end(self._reader(), known)

    def begin(self, topic: str) -> int:
        """The offset of the topic's oldest record; `end` where there is none."""
        with translate_errors(self.path):
            known = self._topic(self._reader(), topic)
            first = None
            if known is not None:
                first = self._reader().execute(f"SELECT min(place) FROM {known.table}").fetchone()[0]
        return self.end(topic) if first is None else int(first)

    def committed(self, consumer: str, topic: str) -> int | None:
        """The offset that `consumer` committed; None where it never did."""
        with translate_errors(self.path):
            row = (
                self._reader()
                .execute("SELECT next FROM committed WHERE consumer = ? AND topic = ?", (consumer, topic))
                .fetchone()
            )
        return None if row is None else int(row[0])

    def topics(self) -> list[str]:
        """Every topic's name, sorted."""
        if self._writer is not None:
            return sorted(self._writer.topics)
        with translate_errors(self.path):
            return sorted(read_topics(self._reader()))

    def check_integrity(self) -> None:
        """Reads the whole file. Raises LogDamaged with what SQLite found."""
        with translate_errors(self.path):
            found = self._reader().execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise LogDamaged(f"{self.path}: damaged: {found}: stop the service and restore this file from a backup")

    def _require_writer(self) -> LogWriter:
        if self._writer is None:
            raise LogError(f"{self.path}: opened for reading only")
        return self._writer

    def _reader(self) -> sqlite3.Connection:
        """This thread's own connection."""
        conn: sqlite3.Connection | None = getattr(self._local, "conn", None)
        if conn is None:
            conn = connect(self.path, read_only=True)
            with self._readers_lock:
                self._readers.append(conn)
            self._local.conn = conn
        return conn

    def _topic(self, conn: sqlite3.Connection, name: str) -> Topic | None:
        topics = self._writer.topics if self._writer is not None else read_topics(conn)
        return topics.get(name)

    def _check_readable(self) -> None:
        if not self.path.is_file():
            raise LogError(f"{self.path}: no such log: expected the data directory of a service that has run")
        with translate_errors(self.path):
            check_identity(self._reader(), self.path)


def _append_work(topic: str, values: Sequence[bytes]) -> tuple[Callable[[Transaction], int], int]:
    pairs = [(None, value) for value in values]
    for value in values:
        _check_size(topic, value)
    return lambda tx: tx.append(topic, pairs), sum(map(len, values))


def _append_batch_work(entries: Sequence[KeyedEntry]) -> tuple[Callable[[Transaction], list[int]], int]:
    for topic, _, value in entries:
        _check_size(topic, value)
    size_bytes = sum(len(key or b"") + len(value or b"") for _, key, value in entries)
    return lambda tx: tx.append_mixed(entries), size_bytes


def _check_size(topic: str, value: bytes | None) -> None:
    if value is not None and len(value) > RECORD_BYTES_MAX:
        raise LogError(f"a record for topic {topic!r} has {len(value)} bytes: expected at most {RECORD_BYTES_MAX}")


def _create_or_alter(
    tx: Transaction, name: str, compacted: bool, retain_ms: int | None, retain_bytes: int | None
) -> None:
    known = tx.topics.get(name)
    if known is None:
        tx.create(name, compacted=compacted, retain_ms=retain_ms, retain_bytes=retain_bytes)
        return
    if known.compacted != compacted:
        kind = "compacted" if known.compacted else "not compacted"
        raise LogError(f"topic {name!r} exists and is {kind}: a topic's kind can't be changed")
    tx.conn.execute(
        "UPDATE topics SET retain_ms = ?, retain_bytes = ? WHERE number = ?", (retain_ms, retain_bytes, known.number)
    )
    tx.topics[name] = Topic(
        number=known.number, name=name, compacted=compacted, retain_ms=retain_ms, retain_bytes=retain_bytes
    )


def _store_offsets(tx: Transaction, consumer: str, offsets: Mapping[str, int]) -> None:
    tx.conn.executemany(
        "INSERT OR REPLACE INTO committed (consumer, topic, next) VALUES (?, ?, ?)",
        [(consumer, topic, offset) for topic, offset in offsets.items()],
    )


def _fsync_directory(directory: Path) -> None:
    """Flushes the directory's entry of the file, so that a power failure right after its creation does not lose it."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
