"""The session store: sessions, their queues and retained messages in an SQLite file, so that they survive a restart.

Changes are collected while a commit runs and written as one transaction by a thread of their own. Packet identifiers and
the steps of QoS 2 are not stored: after a restart such messages are sent again, as MQTT allows for QoS 1.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from config.sqlite_file import open_sqlite
from edge.mqtt_broker.protocol.packet_decoder import PacketDecoder
from edge.mqtt_broker.protocol.packet_encoder import encode_publish
from edge.mqtt_broker.protocol.packets import V5, PropertyId, Publish
from edge.mqtt_broker.session import BrokerMessage, QueuedMessage, Session, Subscription
from star.errors import StoreDamaged

RETRY_S = 1.0
"""Pause after a commit that failed, such as on a full disk. Clients get no acknowledgement until one succeeds."""
WIRE_BYTES_MAX = 300 * 1024 * 1024
"""Most bytes of a stored message: above MQTT's largest packet (256 MiB), as what was stored has to be readable."""

FORMAT = 1
"""Format number of the file."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (client_id TEXT PRIMARY KEY, owner TEXT, expiry_s INTEGER, ended_s REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscriptions (client_id TEXT, whole TEXT, filter TEXT, grp TEXT, qos INTEGER,
  no_local INTEGER, retain_as_published INTEGER, identifier INTEGER, PRIMARY KEY (client_id, whole)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (client_id TEXT, number INTEGER, wire BLOB, expires_s REAL,
  PRIMARY KEY (client_id, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, wire BLOB, expires_s REAL) WITHOUT ROWID;
"""


class SqliteSessionStore:
    """A SessionStore (edge.mqtt_broker.broker) on the file `path`, for one event loop.

    Raises StoreDamaged for a file that can't be read, NewerFormat for one of a newer Starloop.
    """

    def __init__(self, path: Path, log_event: Callable[..., None]) -> None:
        self._path = path
        self._log_event = log_event
        self._thread = ThreadPoolExecutor(1, "gate-store")
        self._changes: list[tuple[str, tuple[Any, ...]]] = []
        self._commit_callbacks: list[Callable[[], None]] = []
        self._write_task: asyncio.Task[None] | None = None
        try:
            self._db = open_sqlite(path, schema=_SCHEMA, format_number=FORMAT)
        except sqlite3.DatabaseError as error:
            raise StoreDamaged(f"{path}: {error}: expected the gate's sessions") from error

    def load(self, now_s: float) -> tuple[list[Session], list[BrokerMessage]]:
        """(sessions, retained messages). Sessions that were connected end their connection at `now_s`. Raises StoreDamaged."""
        try:
            return self._load(now_s)
        except sqlite3.DatabaseError as error:
            raise StoreDamaged(f"{self._path}: {error}: expected the gate's sessions") from error

    def _load(self, now_s: float) -> tuple[list[Session], list[BrokerMessage]]:
        found: dict[str, Session] = {}
        for client_id, owner, expiry_s, ended_s in self._db.execute("SELECT * FROM sessions"):
            session = found[client_id] = Session(client_id, owner, expiry_s, self)
            session.ended_s = now_s if ended_s is None else ended_s
        for client_id, whole, *fields in self._db.execute("SELECT * FROM subscriptions"):
            pattern, group, qos, no_local, as_published, identifier = fields
            if client_id in found:
                found[client_id].subscriptions[whole] = Subscription(
                    pattern, qos, bool(no_local), bool(as_published), identifier, group
                )
        for client_id, number, wire, expires_s in self._db.execute("SELECT * FROM waiting ORDER BY number"):
            if client_id in found:
                found[client_id].restore(_decode_queued(number, wire, expires_s))
        rows = self._db.execute("SELECT wire, expires_s FROM retained").fetchall()
        return list(found.values()), [_decode_queued(0, wire, expires_s).message for wire, expires_s in rows]

    def save_session(self, session: Session) -> None:
        """See edge.mqtt_broker.broker.SessionStore."""
        row = (session.client_id, session.owner, session.expiry_s, session.ended_s)
        self._change("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)", row)

    def delete_session(self, client_id: str) -> None:
        """See edge.mqtt_broker.broker.SessionStore."""
        for table in ("sessions", "subscriptions", "waiting"):
            self._change(f"DELETE FROM {table} WHERE client_id = ?", (client_id,))

    def save_subscription(self, client_id: str, subscription: Subscription) -> None:
        """See edge.mqtt_broker.broker.SessionStore."""
        one = subscription
        row = (client_id, one.full_filter, one.filter, one.group, one.qos)
        row_rest = (one.no_local, one.retain_as_published, one.identifier)
        self._change("INSERT OR REPLACE INTO subscriptions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row + row_rest)

    def delete_subscription(self, client_id: str, whole: str) -> None:
        """See edge.mqtt_broker.broker.SessionStore."""
        self._change("DELETE FROM subscriptions WHERE client_id = ? AND whole = ?", (client_id, whole))

    def save_queued(self, session: Session, out: QueuedMessage) -> None:
        """See edge.mqtt_broker.broker.SessionStore."""
        row = (session.client_id, out.number, _encode_queued(out), out.message.expires_s)
        self._change("INSERT OR REPLACE INTO waiting VALUES (?, ?, ?, ?)", row)

    def delete_queued(self, session: Session, number: int) -> None:
        """See edge.mqtt_broker.broker.SessionStore."""
        self._change("DELETE FROM waiting WHERE client_id = ? AND number = ?", (session.client_id, number))

    def save_retained(self, message: BrokerMessage) -> None:
        """See edge.mqtt_broker.broker.SessionStore."""
        if message.payload:
            row = (message.topic, _encode_queued(QueuedMessage(0, message, message.qos, True)), message.expires_s)
            self._change("INSERT OR REPLACE INTO retained VALUES (?, ?, ?)", row)
        else:
            self._change("DELETE FROM retained WHERE topic = ?", (message.topic,))

    def after_commit(self, done: Callable[[], None]) -> None:
        """See edge.mqtt_broker.broker.SessionStore."""
        if self._write_task is None and not self._changes:
            done()
        else:
            self._commit_callbacks.append(done)

    async def close(self) -> None:
        """Writes the remaining changes and closes the file."""
        while self._write_task is not None:
            await self._write_task
        self._thread.shutdown()
        self._db.close()

    def _change(self, sql: str, row: tuple[Any, ...]) -> None:
        self._changes.append((sql, row))
        if self._write_task is None:
            self._write_task = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._changes or self._commit_callbacks:
            changes, self._changes = self._changes, []
            callbacks, self._commit_callbacks = self._commit_callbacks, []
            while changes:
                try:
                    await loop.run_in_executor(self._thread, self._commit, changes)
                    break
                except sqlite3.Error as error:
                    self._log_event("sessions_not_saved", error=str(error), path=str(self._path), retry_s=RETRY_S)
                    await asyncio.sleep(RETRY_S)
            for done in callbacks:
                done()
        self._write_task = None

    def _commit(self, changes: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        self._db.execute("BEGIN")
        try:
            for sql, row in changes:
                self._db.execute(sql, row)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def _encode_queued(out: QueuedMessage) -> bytes:
    """The message as a PUBLISH of MQTT 5; its expiry is a column beside it."""
    properties = dict(out.message.properties or {})
    if out.identifiers:
        properties[PropertyId.SUBSCRIPTION_ID] = list(out.identifiers)
    message = out.message
    return encode_publish(
        Publish(message.topic, message.payload, out.qos, out.retain, False, 1 if out.qos else 0, properties), V5
    )


def _decode_queued(number: int, wire: bytes, expires_s: float | None) -> QueuedMessage:
    decoder = PacketDecoder(WIRE_BYTES_MAX, V5)
    packets = decoder.feed(wire)
    if len(packets) != 1 or not isinstance(packets[0], Publish):
        raise StoreDamaged(f"message {number} of the gate's sessions is no PUBLISH")
    packet = packets[0]
    properties = dict(packet.properties or {})
    identifiers = tuple(properties.pop(PropertyId.SUBSCRIPTION_ID, ()))
    message = BrokerMessage(packet.topic, packet.payload, packet.qos, packet.retain, properties or None, expires_s)
    return QueuedMessage(number, message, packet.qos, packet.retain, identifiers)
