"""The decoder: MQTT messages to records of the input log, the same in the running service and in replay.

It has no I/O and no clock: the time of arrival is an argument. It parses and numbers metrics; whether a reading is
plausible is decided by the stream. A payload is decoded whole, or it goes to quarantine whole. Canonical telemetry, which
is nearly every message, has a fast path; everything else goes through the adapters.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from config.catalogue import Catalogue
from edge.adapters import Adapter, decode_payload, installed_adapters
from edge.adapters.base import VALUES_MAX, DecodedReading, abbreviate, check_value_name, parse_json
from edge.adapters.canonical import TOPIC_ROOT, TelemetryMessage, decode_fast, decode_fast_list
from edge.events import parse_outcome, parse_request, parse_supplier_terms
from star.errors import BadPayload
from star.ids import ItemId, device_of, name_of
from star.ports import MetricRegistry
from star.records import Quarantined, Record
from star.sense import NO_BOOT, NO_SEQ, Readings
from star.times import EPOCH_S_MAX, EPOCH_S_MIN, parse_time_ms

PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
"""A larger payload is not read."""
KEPT_BYTES_MAX = 64 * 1024
"""Bytes of a payload that quarantine keeps; for a longer one the reason has its length and hash."""
STATUSES = (b"online", b"offline")


class KnownItems:
    """Every known `device/name` of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._tables = (catalogue.slots, catalogue.parts)

    def __contains__(self, item: object) -> bool:
        return any(item in table for table in self._tables)


class Decoder:
    """Decodes messages in order of arrival; `drain` returns their records in that order.

    adapters: by name, in the order in which they are tried; None: the installed ones. known_names: metrics (`device/name`)
    that the registry holds already, counted against a device's limit of names.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        names: MetricRegistry,
        *,
        adapters: Mapping[str, Adapter] | None = None,
        known_names: Iterable[str] = (),
    ) -> None:
        self._names = names
        self._adapters = installed_adapters() if adapters is None else adapters
        self._metrics: dict[str, dict[str, int]] = {}  # device -> value name -> number
        # The same dictionaries by telemetry topic, for the fast path.
        self._metrics_by_topic: dict[str, dict[str, int]] = {}
        self._records: list[Record | Quarantined] = []
        self._columns = _ReadingColumns()
        self.ingested = 0
        self.quarantined = 0
        self.catalogue = catalogue
        for known in known_names:
            self._metrics.setdefault(device_of(known), {})[name_of(known)] = names.number(known)

    @property
    def catalogue(self) -> Catalogue:
        """The fleet in force. Setting it takes effect with the next message."""
        return self._catalogue

    @catalogue.setter
    def catalogue(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._items = KnownItems(catalogue)
        self._metrics_by_topic = {
            topic: metrics
            for topic, metrics in self._metrics_by_topic.items()
            if topic.split("/")[2] in catalogue.devices
        }

    def ingest(self, topic: str, payload: bytes, arrived_ms: int, *, may_accept: bool = True) -> None:
        """Decodes a message. One that can't be read is quarantined; nothing is raised.

        may_accept: whether its sender may accept offers and requests, which spends the customer's money.
        """
        metrics = self._metrics_by_topic.get(topic)
        if (
            metrics is not None
            and len(payload) <= PAYLOAD_BYTES_MAX
            and self._ingest_fast(metrics, payload, arrived_ms)
        ):
            return
        try:
            self._ingest_slowly(topic, payload, arrived_ms, may_accept)
        except BadPayload as error:
            self.quarantine(topic, payload, str(error), arrived_ms)

    def ingest_outcome(self, body: object, arrived_ms: int, device: str | None = None) -> None:
        """Appends an outcome from its JSON. Raises BadPayload."""
        self._append(parse_outcome(body, arrived_ms, self._items, device))

    def ingest_request(self, body: object, arrived_ms: int, device: str | None = None) -> None:
        """Appends a customer's request from its JSON. Raises BadPayload."""
        self._append(parse_request(body, arrived_ms, self._items, device))

    def ingest_supplier_terms(self, body: object, arrived_ms: int) -> None:
        """Appends a supplier's terms from their JSON. Raises BadPayload."""
        self._append(parse_supplier_terms(body, arrived_ms, self._catalogue.suppliers))

    def append(self, record: Record) -> None:
        """Appends a record that needs no decoding, such as a tick."""
        self._append(record)

    def quarantine(self, topic: str | None, payload: bytes, reason: str, arrived_ms: int) -> None:
        """Appends a payload that can't be read, with the reason."""
        self.quarantined += 1
        if len(payload) > KEPT_BYTES_MAX:
            digest = hashlib.sha256(payload).hexdigest()
            reason += f" (the first {KEPT_BYTES_MAX} bytes kept of {len(payload)}, sha256 {digest})"
        self._append(Quarantined(at_ms=arrived_ms, topic=topic, payload=payload[:KEPT_BYTES_MAX], reason=reason))

    def drain(self) -> list[Record | Quarantined]:
        """The records since the last call, consecutive readings as one batch."""
        self._close_batch()
        out, self._records = self._records, []
        return out

    def pending_readings(self) -> int:
        """Number of readings in the open batch."""
        return len(self._columns.metric)

    def _append(self, record: Record | Quarantined) -> None:
        self._close_batch()
        self._records.append(record)

    def _close_batch(self) -> None:
        if self._columns.metric:
            self._records.append(self._columns.readings())
            self._columns = _ReadingColumns()

    def _ingest_fast(self, metrics: Mapping[str, int], payload: bytes, arrived_ms: int) -> bool:
        """Decodes canonical telemetry whose names are known; False, with no effect, for anything else."""
        try:
            if not payload.isascii():
                payload.decode()
            if payload[:1] == b"[":
                found = [_with_metric_numbers(message, metrics, arrived_ms) for message in decode_fast_list(payload)]
            else:
                found = [_with_metric_numbers(decode_fast(payload), metrics, arrived_ms)]
        except (KeyError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BadPayload):
            return False  # the slow path decodes it, or finds the reason to quarantine it
        for numbers, at_ms, message in found:
            boot = NO_BOOT if message.boot is None else message.boot
            seq = NO_SEQ if message.seq is None else message.seq
            self._columns.add(numbers, at_ms, arrived_ms, message.values.values(), boot, seq)
            self.ingested += len(numbers)
        return bool(found)

    def _ingest_slowly(self, topic: str, payload: bytes, arrived_ms: int, may_accept: bool) -> None:
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise BadPayload(f"the payload has {len(payload)} bytes: expected at most {PAYLOAD_BYTES_MAX}")
        parts = topic.split("/")
        if topic.startswith(TOPIC_ROOT) and len(parts) == 4 and parts[3] in ("status", "requests", "outcomes"):
            self._check_device(parts[2])
            self._ingest_event(parts[2], parts[3], payload, arrived_ms, may_accept)
            return
        found = decode_payload(self._adapters, topic, payload, arrived_ms)
        if found is None:
            raise BadPayload(
                f"the topic is {abbreviate(topic)}: expected {TOPIC_ROOT}<device>/telemetry, status, requests or outcomes,"
                " or one of an adapter"
            )
        self._ingest_readings(found[1], arrived_ms)

    def _ingest_event(self, device: str, kind: str, payload: bytes, arrived_ms: int, may_accept: bool) -> None:
        if kind == "status":
            if payload and payload not in STATUSES:  # an empty payload removes the retained status
                raise BadPayload(
                    f"the status is {abbreviate(payload.decode(errors='replace'))}: expected online or offline"
                )
        elif kind == "requests":
            self.ingest_request(parse_json(payload), arrived_ms, device)
        else:
            outcome = parse_outcome(parse_json(payload), arrived_ms, self._items, device)
            if outcome.result == "accepted" and not may_accept:
                raise BadPayload("result is accepted, which spends money: expected the customer's own credentials")
            self._append(outcome)

    def _check_device(self, device: str) -> None:
        if device not in self._catalogue.devices:
            raise BadPayload(f"the device is {abbreviate(device)}: expected the id of a device of the fleet")

    def _ingest_readings(self, readings: Sequence[DecodedReading], arrived_ms: int) -> None:
        for reading in readings:
            self._check_device(reading.device)
        self._check_value_names(readings)
        for reading in readings:
            numbers = [self._metric_number(reading.device, name) for name in reading.values]
            at_ms = arrived_ms if reading.at_ms is None else reading.at_ms
            self._columns.add(numbers, at_ms, arrived_ms, reading.values.values(), reading.boot, reading.seq)
            self.ingested += len(numbers)

    def _check_value_names(self, readings: Sequence[DecodedReading]) -> None:
        """Raises BadPayload before any name is numbered: a refused payload adds nothing to the registry."""
        new: dict[str, set[str]] = {}
        for reading in readings:
            unseen = reading.values.keys() - self._metrics.get(reading.device, {}).keys()
            for name in unseen:
                check_value_name(name)
            if unseen:
                new.setdefault(reading.device, set()).update(unseen)
        for device, names in new.items():
            count = len(names) + len(self._metrics.get(device, ()))
            if count > VALUES_MAX:
                raise BadPayload(f"values brings the device to {count} names: expected at most {VALUES_MAX} in all")

    def _metric_number(self, device: str, name: str) -> int:
        metrics = self._metrics.setdefault(device, {})
        self._metrics_by_topic[f"{TOPIC_ROOT}{device}/telemetry"] = metrics
        number = metrics.get(name)
        if number is None:
            number = metrics[name] = self._names.number(str(ItemId(device, name)))
        return number


def _with_metric_numbers(
    message: TelemetryMessage, metrics: Mapping[str, int], arrived_ms: int
) -> tuple[list[int], int, TelemetryMessage]:
    """(metric numbers of the values, time measured, the message). Raises KeyError for an unknown name, BadPayload."""
    if not message.values:
        raise BadPayload("values is empty")
    at = message.at
    if at is None:
        at_ms = arrived_ms
    elif type(at) is float and EPOCH_S_MIN <= at <= EPOCH_S_MAX:
        at_ms = round(at * 1000)
    else:
        at_ms = parse_time_ms(at)
    return [metrics[name] for name in message.values], at_ms, message


class _ReadingColumns:
    """The columns of the open batch of readings."""

    def __init__(self) -> None:
        self.metric = array("i")
        self.at_ms = array("q")
        self.arrived_ms = array("q")
        self.value = array("d")
        self.boot = array("q")
        self.seq = array("q")

    def add(
        self,
        numbers: list[int],
        at_ms: int,
        arrived_ms: int,
        values: Iterable[float],
        boot: int,
        seq: int,
    ) -> None:
        """Adds the values of one message."""
        count = len(numbers)
        if count == 1:
            self.metric.append(numbers[0])
            self.at_ms.append(at_ms)
            self.arrived_ms.append(arrived_ms)
            self.boot.append(boot)
            self.seq.append(seq)
        else:
            self.metric.extend(numbers)
            self.at_ms.extend([at_ms] * count)
            self.arrived_ms.extend([arrived_ms] * count)
            self.boot.extend([boot] * count)
            self.seq.extend([seq] * count)
        self.value.extend(values)

    def readings(self) -> Readings:
        """The batch. Its columns are views of these arrays, which are not written to afterwards."""
        return Readings(
            metric=np.frombuffer(self.metric, dtype=np.int32),
            at_ms=np.frombuffer(self.at_ms, dtype=np.int64),
            arrived_ms=np.frombuffer(self.arrived_ms, dtype=np.int64),
            value=np.frombuffer(self.value, dtype=np.float64),
            boot=np.frombuffer(self.boot, dtype=np.int64),
            seq=np.frombuffer(self.seq, dtype=np.int64),
        )
