"""Export of the input log as lines for `starloop replay`, in order of arrival and with arrival times.

Replaying the lines with the first fleet file gives the reactions of the live run, byte for byte. Readings are written in the
canonical payload format, whatever their original one; times and values are exact. Quarantined messages are written so that replay
quarantines them again. The log is only read, and the service may be running.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from operations.log_records import read_range
from star.ports import Log, MetricRegistry
from star.records import FleetChange, Quarantined, Record, Request, SupplierTerms, Tick, decode
from star.repeat import Outcome
from star.sense import NO_BOOT, NO_SEQ, Readings
from star.times import epoch_seconds
from stream.partition.partitioner import decode_quarantined
from stream.topics import INPUT, QUARANTINE


@dataclass(frozen=True, slots=True)
class _ExportedLine:
    at_ms: int
    fields: dict[str, Any]
    is_tick: bool = False


def log_ends(log: Log) -> dict[str, int]:
    """Current end offsets of the input and quarantine. Read them before the metric names, so that every metric has a name."""
    return {topic: log.end(topic) for topic in (INPUT, QUARANTINE)}


def export_lines(log: Log, names: MetricRegistry, ends: Mapping[str, int]) -> Iterator[bytes]:
    """Records up to `ends` as lines of the replay protocol, in order of arrival.

    Raises LogDamaged for an unreadable record, and KeyError for a metric that is not in `names`.
    """
    quarantined = _read_quarantine(log, ends[QUARANTINE])
    pending = next(quarantined, None)
    last_ms = 0
    for line in _read_input(log, ends[INPUT], names):
        while pending is not None and (pending.at_ms < line.at_ms or (line.is_tick and pending.at_ms == line.at_ms)):
            last_ms = max(last_ms, pending.at_ms)
            yield _quarantined_line(pending, last_ms)
            pending = next(quarantined, None)
        last_ms = max(last_ms, line.at_ms)
        yield _encode({"at": epoch_seconds(last_ms), **line.fields})
    while pending is not None:
        last_ms = max(last_ms, pending.at_ms)
        yield _quarantined_line(pending, last_ms)
        pending = next(quarantined, None)


def _read_input(log: Log, end: int, names: MetricRegistry) -> Iterator[_ExportedLine]:
    for _, value in read_range(log, INPUT, 0, end):
        record = decode(value)
        if isinstance(record, Readings):
            yield from _telemetry(record, names)
        else:
            yield _event_line(record)


def _read_quarantine(log: Log, end: int) -> Iterator[Quarantined]:
    return (decode_quarantined(value) for _, value in read_range(log, QUARANTINE, 0, end))


def _telemetry(readings: Readings, names: MetricRegistry) -> Iterator[_ExportedLine]:
    """Merges adjacent rows of the same device, times and sequence number into one message."""
    known: dict[int, tuple[str, str]] = {}
    columns = (readings.metric, readings.arrived_ms, readings.at_ms, readings.boot, readings.seq, readings.value)
    shared: tuple[str, int, int, int, int] | None = None
    values: dict[str, float] = {}
    for metric, arrived_ms, at_ms, boot, seq, value in zip(*(column.tolist() for column in columns), strict=True):
        if metric not in known:
            device, _, name = names.name(metric).partition("/")
            known[metric] = (device, name)
        device, name = known[metric]
        if shared != (device, arrived_ms, at_ms, boot, seq) or name in values:
            if shared is not None:
                yield _telemetry_line(*shared, values)
            shared, values = (device, arrived_ms, at_ms, boot, seq), {}
        values[name] = value
    if shared is not None:
        yield _telemetry_line(*shared, values)


def _telemetry_line(
    device: str, arrived_ms: int, at_ms: int, boot: int, seq: int, values: dict[str, float]
) -> _ExportedLine:
    payload: dict[str, Any] = {"at": epoch_seconds(at_ms)}
    if seq != NO_SEQ:
        payload["seq"] = seq
    if boot != NO_BOOT:
        payload["boot"] = boot
    payload["values"] = values
    return _ExportedLine(arrived_ms, {"topic": f"starloop/v1/{device}/telemetry", "payload": payload})


def _event_line(record: Record) -> _ExportedLine:
    if isinstance(record, Tick):
        return _ExportedLine(record.at_ms, {"tick": True}, is_tick=True)
    if isinstance(record, Outcome):
        return _ExportedLine(record.arrived_ms, {"outcome": _outcome_fields(record)})
    if isinstance(record, Request):
        return _ExportedLine(
            record.at_ms, {"request": _without_none(id=record.id, item=record.item, quantity=record.quantity)}
        )
    if isinstance(record, SupplierTerms):
        terms = _without_none(supplier=record.supplier, price=record.price, lead_time_days=record.lead_time_days)
        return _ExportedLine(record.at_ms, terms)
    if isinstance(record, FleetChange):
        return _ExportedLine(record.at_ms, {"fleet": json.loads(record.tables)})
    raise AssertionError(f"{type(record).__name__} is not an input record other than readings")


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    feedback = _without_none(
        timing=outcome.timing, csat=outcome.csat, nps=outcome.nps, ces=outcome.ces, text=outcome.text
    )
    return _without_none(
        id=outcome.id,
        reaction=outcome.reaction,
        item=outcome.item,
        result=outcome.result,
        at=epoch_seconds(outcome.at_ms),
        quantity=outcome.quantity,
        feedback=feedback or None,
    )


def _quarantined_line(row: Quarantined, at_ms: int) -> bytes:
    """A line that replay quarantines too.

    A payload that was rejected for its content is written unchanged. One that was rejected for its sender (an acceptance), or that
    was truncated, might be accepted by replay, so it is written as a line of unknown kind.
    """
    payload = base64.b64encode(row.payload).decode("ascii")
    if row.topic is None or row.topic.endswith("/outcomes") or " bytes kept of " in row.reason:
        kept = {"topic": row.topic, "payload_base64": payload, "reason": row.reason}
        return _encode({"at": epoch_seconds(at_ms), "quarantined": kept})
    return _encode({"at": epoch_seconds(at_ms), "topic": row.topic, "payload_base64": payload})


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _encode(fields: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(fields) + b"\n"
    except (orjson.JSONEncodeError, TypeError):  # an integer beyond 64 bits in fleet tables, or a lone surrogate
        return json.dumps(fields).encode() + b"\n"
