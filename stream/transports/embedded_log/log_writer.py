"""The embedded log's writing thread: group commit, the requests of many callers in one transaction with one disk flush.

A request is a function of a `Transaction`. Its result goes to its caller, in another thread or in an event loop, only after the
commit, which with synchronous=FULL is after the disk has it. Where a group fails, its requests are run one by one, so that
the error of one is not that of the others.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from star.errors import LogError
from stream.transports.embedded_log.log_file import Topic, create_topic, log_error, open_writer, read_end, read_topics

GROUP_BYTES_MAX = 16 << 20
"""A transaction takes no further request once it holds this much: it bounds how long the group's callers wait."""
GROUP_REQUESTS_MAX = 4_096
"""A transaction takes no further request after this many."""
PENDING_BYTES_MAX = 64 << 20
"""Callers wait while this much is not on disk: it bounds the log's memory."""
TOPICS_MAX = 10_000
"""Topics that a log may have: each is a table."""

T = TypeVar("T")
KeyedEntry = tuple[str, bytes | None, bytes | None]
"""(topic, key, value)."""


class Transaction:
    """What a request may do. `topics` and `ends`: as committed, with this transaction's own changes."""

    def __init__(self, conn: sqlite3.Connection, topics: dict[str, Topic], ends: dict[str, int], at_ms: int) -> None:
        self.conn = conn
        self.topics = dict(topics)
        self.ends = dict(ends)
        self.appended_topics: set[str] = set()
        self._at_ms = at_ms

    def topic(self, name: str) -> Topic:
        """The topic; a missing one is created with default settings."""
        topic = self.topics.get(name)
        if topic is None:
            topic = self.create(name, compacted=False, retain_ms=None, retain_bytes=None)
        return topic

    def create(self, name: str, *, compacted: bool, retain_ms: int | None, retain_bytes: int | None) -> Topic:
        """Creates a topic. Raises LogError where the log has TOPICS_MAX already."""
        number = max((topic.number for topic in self.topics.values()), default=0) + 1
        if number > TOPICS_MAX:
            raise LogError(f"topic {name!r}: the log has {TOPICS_MAX} topics already")
        topic = Topic(number=number, name=name, compacted=compacted, retain_ms=retain_ms, retain_bytes=retain_bytes)
        create_topic(self.conn, topic)
        self.topics[name] = topic
        self.ends[name] = 0
        return topic

    def append(self, name: str, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> int:
        """Appends (key, value) pairs to one topic; gives the first one's offset."""
        topic = self.topic(name)
        first = self.ends[name]
        verb = "INSERT OR REPLACE" if topic.compacted else "INSERT"
        at_ms = self._at_ms
        self.conn.executemany(
            f"{verb} INTO {topic.table} (place, at_ms, key, value) VALUES (?, ?, ?, ?)",
            ((first + nth, at_ms, key, value) for nth, (key, value) in enumerate(pairs)),
        )
        self.ends[name] = first + len(pairs)
        self.appended_topics.add(name)
        return first

    def append_mixed(self, entries: Sequence[KeyedEntry]) -> list[int]:
        """Appends entries of several topics, in order within each topic; gives every entry's offset."""
        by_topic: dict[str, list[int]] = {}
        for nth, (name, _, _) in enumerate(entries):
            by_topic.setdefault(name, []).append(nth)
        offsets = [0] * len(entries)
        for name, rows in by_topic.items():
            first = self.append(name, [entries[nth][1:] for nth in rows])
            for position, nth in enumerate(rows):
                offsets[nth] = first + position
        return offsets


class WriteRequest(Generic[T]):
    """A function to run in a transaction, its size in bytes, and the future of its result."""

    __slots__ = ("future", "loop", "run", "size_bytes")

    def __init__(
        self,
        run: Callable[[Transaction], T],
        size_bytes: int,
        future: Future[T] | asyncio.Future[T],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.run = run
        self.size_bytes = size_bytes
        self.future = future
        self.loop = loop


SettledWrite = tuple[Any, Any, BaseException | None]
"""(future, result, error)."""


class LogWriter:
    """The thread and its queue. `topics` and `ends`: what is on disk; both are replaced, never changed in place."""

    def __init__(self, path: Path, now_ms: Callable[[], int], size_max_bytes: int | None) -> None:
        self._path = path
        self._now_ms = now_ms
        self._size_max_bytes = size_max_bytes
        self._conn = open_writer(path, size_max_bytes=size_max_bytes)
        self.topics: dict[str, Topic] = {}
        self.ends: dict[str, int] = {}
        self._reload()
        self._requests: queue.SimpleQueue[WriteRequest[Any] | None] = queue.SimpleQueue()
        self._capacity = threading.Condition()
        self._pending_bytes = 0
        self._closed = False
        self._reopen_needed = False
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._thread = threading.Thread(target=self._serve, name="starloop-log", daemon=True)
        self._thread.start()

    @property
    def pending_bytes(self) -> int:
        """Bytes queued and not yet on disk."""
        return self._pending_bytes

    def submit(self, run: Callable[[Transaction], T], size_bytes: int) -> Future[T]:
        """Queues a request from any thread; waits while too much is pending. Raises LogError once closed."""
        with self._capacity:
            self._capacity.wait_for(lambda: self._pending_bytes < PENDING_BYTES_MAX or self._closed)
        future: Future[T] = Future()
        self._enqueue(WriteRequest(run, size_bytes, future, None))
        return future

    def submit_nowait(self, run: Callable[[Transaction], T], size_bytes: int) -> asyncio.Future[T]:
        """Queues a request from an event loop, at once and in the order of calls. Raises LogError once closed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._enqueue(WriteRequest(run, size_bytes, future, loop))
        return future

    def add_commit_listener(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` in the writing thread after every commit of records; gives the function that removes it."""
        with self._capacity:
            self._listeners = (*self._listeners, listener)

        def remove() -> None:
            with self._capacity:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return remove

    def close(self) -> None:
        """Writes pending requests, then closes the file."""
        with self._capacity:
            if self._closed:
                return
            self._closed = True
            self._requests.put(None)
            self._capacity.notify_all()
        self._thread.join()

    def _enqueue(self, request: WriteRequest[Any]) -> None:
        with self._capacity:
            if self._closed:
                raise LogError(f"{self._path}: the log is closed")
            self._pending_bytes += request.size_bytes
            self._requests.put(request)

    def _serve(self) -> None:
        more = True
        while more:
            group, more = self._collect_group()
            if group:
                settled = self._commit(group)
                with self._capacity:
                    self._pending_bytes -= sum(request.size_bytes for request in group)
                    self._capacity.notify_all()
                self._settle(settled)
        self._conn.close()

    def _collect_group(self) -> tuple[list[WriteRequest[Any]], bool]:
        """The queued requests, at least one; and whether the thread goes on."""
        request = self._requests.get()
        group: list[WriteRequest[Any]] = []
        size_bytes = 0
        while request is not None:
            group.append(request)
            size_bytes += request.size_bytes
            if size_bytes >= GROUP_BYTES_MAX or len(group) >= GROUP_REQUESTS_MAX:
                return group, True
            try:
                request = self._requests.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit(self, group: Sequence[WriteRequest[Any]]) -> list[tuple[WriteRequest[Any], Any, BaseException | None]]:
        try:
            return [(request, result, None) for request, result in zip(group, self._transact(group), strict=True)]
        except Exception as error:  # noqa: BLE001 - whatever a request raises goes to its caller
            if len(group) == 1:
                return [(group[0], None, self._to_log_error(error))]
        return [settled for request in group for settled in self._commit([request])]

    def _transact(self, group: Sequence[WriteRequest[Any]]) -> list[Any]:
        if self._reopen_needed:
            self._reopen()
        transaction = Transaction(self._conn, self.topics, self.ends, self._now_ms())
        self._conn.execute("BEGIN IMMEDIATE")
        try:
            results = [request.run(transaction) for request in group]
            self._conn.execute("COMMIT")
        except BaseException as error:
            # After an error of the file the connection's view of it may be wrong: the next group opens the file again.
            self._reopen_needed = isinstance(error, sqlite3.Error)
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
            raise
        self.topics, self.ends = transaction.topics, transaction.ends
        if transaction.appended_topics:
            self._notify_listeners()
        return results

    def _notify_listeners(self) -> None:
        for listener in self._listeners:
            # A listener wakes an event loop, which may have closed in the meantime: then nobody waits in it.
            with suppress(RuntimeError):
                listener()

    def _reopen(self) -> None:
        self._conn.close()
        self._conn = open_writer(self._path, size_max_bytes=self._size_max_bytes)
        self._reload()
        self._reopen_needed = False

    def _reload(self) -> None:
        try:
            topics = read_topics(self._conn)
            self.ends = {name: read_end(self._conn, topic) for name, topic in topics.items()}
        except sqlite3.Error as error:
            raise log_error(self._path, error) from error
        self.topics = topics

    def _to_log_error(self, error: Exception) -> Exception:
        return log_error(self._path, error) if isinstance(error, sqlite3.Error) else error

    @staticmethod
    def _settle(settled: Iterable[tuple[WriteRequest[Any], Any, BaseException | None]]) -> None:
        """Hands results to their callers, with one wake-up for each event loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[SettledWrite]] = {}
        for request, result, error in settled:
            if request.loop is not None:
                by_loop.setdefault(request.loop, []).append((request.future, result, error))
            elif error is not None:
                request.future.set_exception(error)
            else:
                request.future.set_result(result)
        for loop, rows in by_loop.items():
            with suppress(RuntimeError):  # the loop has closed: nobody waits in it
                loop.call_soon_threadsafe(_settle_in_loop, rows)


def _settle_in_loop(rows: Sequence[SettledWrite]) -> None:
    for future, result, error in rows:
        if future.done():  # the caller was cancelled; its records are on disk nevertheless
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
