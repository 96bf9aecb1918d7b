"""The door to the input log: how records, and what was quarantined among them, become its entries; and the arrival clock.

Times of arrival in the log never go back. That holds because everything that comes in is stamped by one ArrivalClock and
put in order in the same step, before anything is awaited. Not here: reading payloads (edge/), and ticking (ticker.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

from star.errors import LogDamaged
from star.ports import Clock, Log
from star.records import Quarantined, Record, decode, encode
from star.repeat import Outcome
from star.sense import Readings
from stream.topics import INPUT, QUARANTINE


class ArrivalClock:
    """The time of arrival, in milliseconds since the epoch: the world's clock, but never before what it said last.

    start_ms: what the log holds already; a machine whose clock was set back goes on from there and waits.
    """

    def __init__(self, clock: Clock, start_ms: int = 0) -> None:
        self._clock = clock
        self._last_ms = start_ms

    def now_ms(self) -> int:
        """Now; at least what the last call gave."""
        self._last_ms = max(self._last_ms, self._clock.now_ms())
        return self._last_ms


def arrived_ms(record: Record | Quarantined) -> int:
    """When the record arrived; of readings, the last one."""
    if isinstance(record, Readings):
        return int(record.arrived_ms[-1]) if len(record) else 0
    return record.arrived_ms if isinstance(record, Outcome) else record.at_ms


def last_arrival_ms(log: Log) -> int:
    """The time of arrival of the input's last record, for ArrivalClock's start; 0 where there is none."""
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
