"""The door to the input log: how records, and what was quarantined among them, become its entries.

Times of arrival in the log never go back: the edge's inlet stamps everything with one clock that starts at what
`last_arrival_ms` finds. Not here: reading payloads (edge/), and ticking (ticker.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

from star.errors import LogDamaged
from star.ports import Log
from star.records import Quarantined, Record, decode, encode
from star.repeat import Outcome
from star.sense import Readings
from stream.topics import INPUT, QUARANTINE


def arrived_ms(record: Record | Quarantined) -> int:
    """When the record arrived; of readings, the last one."""
    if isinstance(record, Readings):
        return int(record.arrived_ms[-1]) if len(record) else 0
    return record.arrived_ms if isinstance(record, Outcome) else record.at_ms


def last_arrival_ms(log: Log) -> int:
    """The time of arrival of the input's last record, for the clock of arrival to start from; 0 where there is none."""
    end = log.end(INPUT)
    last = log.read(INPUT, end - 1, 1) if end else []
    return arrived_ms(decode(last[0][1])) if last else 0


def entries_of(records: Iterable[Record | Quarantined]) -> list[tuple[str, bytes | None, bytes | None]]:
    """The log's entries (topic, key, value) of what an intake drained, in its order; append them as one batch."""
    return [
        (QUARANTINE, None, encode_quarantined(record))
        if isinstance(record, Quarantined)
        else (INPUT, None, encode(record))
        for record in records
    ]


def encode_quarantined(quarantined: Quarantined) -> bytes:
    """Its bytes in the log: JSON, the payload in base64."""
    body = {
        "at_ms": quarantined.at_ms,
        "topic": quarantined.topic,
        "payload": base64.b64encode(quarantined.payload).decode("ascii"),
        "reason": quarantined.reason,
    }
    return json.dumps(body, ensure_ascii=True).encode()


def decode_quarantined(wire: bytes) -> Quarantined:
    """What was quarantined. Raises LogDamaged where the bytes are not `encode_quarantined`'s."""
    try:
        body = json.loads(wire)
        return Quarantined(**{**body, "payload": base64.b64decode(body["payload"], validate=True)})
    except (ValueError, TypeError, KeyError) as error:
        raise LogDamaged(f"a quarantined record can't be read: {error}") from error
