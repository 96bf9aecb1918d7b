"""Retention of the embedded log: which records of a topic may be deleted, and their deletion.

A topic's last record always stays, since the next offset is derived from it. So does every record that a consumer of the topic
has not committed.
"""

from __future__ import annotations

import sqlite3

from stream.transports.embedded_log.log_file import Topic, read_end
from stream.transports.embedded_log.log_writer import Transaction

ROWS_MAX = 10_000
"""Rows that one transaction deletes: more would make appends wait for longer."""


def deletable_before(conn: sqlite3.Connection, topic: Topic, now_ms: int) -> int:
    """The offset before which the topic's records may be deleted; 0 where all stay."""
    if topic.compacted or (topic.retain_ms is None and topic.retain_bytes is None):
        return 0
    found = 0
    if topic.retain_ms is not None:
        found = _first_offset_since(conn, topic, now_ms - topic.retain_ms)
    if topic.retain_bytes is not None:
        found = max(found, _first_offset_within(conn, topic, topic.retain_bytes))
    slowest = conn.execute("SELECT min(next) FROM committed WHERE topic = ?", (topic.name,)).fetchone()[0]
    return min(found, read_end(conn, topic) - 1, found if slowest is None else int(slowest))


def delete_before(tx: Transaction, topic: Topic, bound: int) -> int:
    """Deletes at most ROWS_MAX records before offset `bound`; gives their number."""
    cursor = tx.conn.execute(
        f"DELETE FROM {topic.table} WHERE place IN"
        f" (SELECT place FROM {topic.table} WHERE place < ? ORDER BY place LIMIT {ROWS_MAX})",
        (bound,),
    )
    return cursor.rowcount


def _first_offset_since(conn: sqlite3.Connection, topic: Topic, oldest_ms: int) -> int:
    row = conn.execute(
        f"SELECT place FROM {topic.table} WHERE at_ms >= ? ORDER BY place LIMIT 1", (oldest_ms,)
    ).fetchone()
    return read_end(conn, topic) if row is None else int(row[0])


def _first_offset_within(conn: sqlite3.Connection, topic: Topic, size_bytes: int) -> int:
    """The first offset of the topic's longest tail of at most `size_bytes`."""
    left = size_bytes
    found = 0
    rows = conn.execute(
        f"SELECT place, coalesce(length(key), 0) + coalesce(length(value), 0) FROM {topic.table} ORDER BY place DESC"
    )
    for place, length in rows:
        left -= length
        if left < 0:
            found = int(place) + 1
            break
    rows.close()
    return found
