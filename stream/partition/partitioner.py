"""The partitioner: makes log entries of records and of quarantined payloads, each in the partition of its customer.

Times of arrival in the log never go back: the ingest service stamps records with one clock that starts at `last_arrival_ms`.
Payloads are decoded in edge/, ticks are made in ticker.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue
from star.errors import LogDamaged
from star.ids import item_of_reaction
from star.ports import Log, MetricRegistry
from star.records import Quarantined, Record, Request, decode, encode
from star.repeat import Outcome
from star.sense import Readings
from stream.arrival import arrival_ms
from stream.partition.partition_hash import partition_of
from stream.state.state_table import device_of
from stream.topics import INPUT, QUARANTINE
from stream.transports.log_client import Entry


def last_arrival_ms(log: Log) -> int:
    """When the last record of the input arrived, ms since the epoch; 0 where there is none."""
    end = log.end(INPUT)
    last = log.read(INPUT, end - 1, 1) if end else []
    return arrival_ms(decode(last[0][1])) if last else 0


def single_partition_entries(records: Iterable[Record | Quarantined]) -> list[tuple[str, bytes | None, bytes | None]]:
    """The entries (topic, key, value) of what a decoder drained, in its order, for a log of one partition."""
    return [
        (QUARANTINE, None, encode_quarantined(record))
        if isinstance(record, Quarantined)
        else (INPUT, None, encode(record))
        for record in records
    ]


class Partitioner:
    """Assigns records to the partitions of their customers. names: of metrics, by number; catalogue: the fleet in force.

    Records that concern all customers (a supplier's terms, a change of the fleet, a tick) go to every partition.
    """

    def __init__(self, partitions: int, names: MetricRegistry, catalogue: Callable[[], Catalogue]) -> None:
        self._partitions = partitions
        self._names = names
        self._catalogue = catalogue
        self._partition_of_metric = np.empty(0, dtype=np.int32)
        self._resolved_for: Catalogue | None = None

    def entries(self, records: Iterable[Record], quarantined: Iterable[Quarantined] = ()) -> list[Entry]:
        """The log's entries, in the order of the records within each partition."""
        found: list[Entry] = []
        for record in records:
            if self._partitions == 1:
                found.append(Entry(INPUT, 0, None, encode(record)))
            elif isinstance(record, Readings):
                found += self._readings_entries(record)
            elif isinstance(record, Outcome | Request):
                found.append(Entry(INPUT, self._event_partition(record), None, encode(record)))
            else:
                wire = encode(record)
                found += [Entry(INPUT, partition, None, wire) for partition in range(self._partitions)]
        found += [Entry(QUARANTINE, 0, None, encode_quarantined(row)) for row in quarantined]
        return found

    def _readings_entries(self, readings: Readings) -> list[Entry]:
        where = (
            self._metric_partitions(int(readings.metric.max()) + 1)[readings.metric]
            if len(readings)
            else readings.metric
        )
        unknown = where < 0
        if unknown.any():
            for number in np.unique(readings.metric[unknown]).tolist():
                self._partition_of_metric[number] = self._device_partition(device_of(self._names.name(number)))
            where = self._partition_of_metric[readings.metric]
        order = np.argsort(where, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(where[order]) != 0)) if order.size else order
        parts = np.split(order, starts[1:]) if order.size else []
        return [Entry(INPUT, int(where[rows[0]]), None, encode(readings.select(rows))) for rows in parts]

    def _metric_partitions(self, size: int) -> NDArray[np.int32]:
        """The partition by metric number; -1 where it is not resolved yet."""
        catalogue = self._catalogue()
        if catalogue is not self._resolved_for:
            self._resolved_for = catalogue
            self._partition_of_metric[:] = -1
        if size > self._partition_of_metric.size:
            more = np.full(
                max(size, 2 * self._partition_of_metric.size) - self._partition_of_metric.size, -1, dtype=np.int32
            )
            self._partition_of_metric = np.concatenate([self._partition_of_metric, more])
        return self._partition_of_metric

    def _event_partition(self, event: Outcome | Request) -> int:
        item = event.item
        if isinstance(event, Outcome) and item is None and event.reaction is not None:
            item = item_of_reaction(event.reaction)
        return 0 if item is None else self._device_partition(device_of(item))

    def _device_partition(self, name: str) -> int:
        """The partition of the device's customer; of an unknown device one by its name, where its records are reported."""
        device = self._catalogue().devices.get(name)
        return partition_of(name if device is None else device.customer, self._partitions)


def encode_quarantined(quarantined: Quarantined) -> bytes:
    """The bytes of a quarantined payload in the log: JSON, the payload in base64."""
    body = {
        "at_ms": quarantined.at_ms,
        "topic": quarantined.topic,
        "payload": base64.b64encode(quarantined.payload).decode("ascii"),
        "reason": quarantined.reason,
    }
    return json.dumps(body, ensure_ascii=True).encode()


def decode_quarantined(wire: bytes) -> Quarantined:
    """The quarantined payload of `encode_quarantined`'s bytes. Raises LogDamaged where they are not such."""
    try:
        body = json.loads(wire)
        return Quarantined(**{**body, "payload": base64.b64decode(body["payload"], validate=True)})
    except (ValueError, TypeError, KeyError) as error:
        raise LogDamaged(f"a quarantined record can't be read: {error}") from error
