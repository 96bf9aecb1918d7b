"""Decoding of the replay protocol: lines become records, in the order of the lines and with their times.

docs/reference/replay.md specifies the protocol. The caller decides what becomes of the records: replay.py analyses them,
log_loader.py appends them to a log.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import msgspec

from config.fleet_change import change_catalogue_from_json
from edge.decoder import Decoder
from star.errors import BadPayload, ConfigError
from star.records import FleetChange, Quarantined, Record, Tick
from star.times import EPOCH_S_MAX, parse_time_ms

LINE_BYTES_MIN = 8
"""Length of the shortest possible line: only a shorter one need be tested for being blank."""


class _InputLine(msgspec.Struct, gc=False):
    """One input line. Exactly one of topic, outcome, request, supplier, fleet and tick gives its kind."""

    at: float | int | str
    topic: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"")
    payload_base64: str | None = None
    outcome: dict[str, Any] | None = None
    request: dict[str, Any] | None = None
    supplier: str | None = None
    price: float | None = None
    lead_time_days: list[float] | None = None
    fleet: dict[str, Any] | None = None
    tick: bool | None = None

    def terms(self) -> dict[str, Any]:
        """The fields of the supplier's terms that the line sets."""
        named = {"supplier": self.supplier, "price": self.price, "lead_time_days": self.lead_time_days}
        return {name: value for name, value in named.items() if value is not None}


_decoder = msgspec.json.Decoder(_InputLine)


class LineDecoder:
    """Decodes lines in order; `drain` returns their records, ticks included. decoder: of the payloads within the lines."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.at_ms: int | None = None
        """Arrival time of the last line that was decoded; None before the first."""

    def ingest(self, wire: bytes) -> bool:
        """Decodes one line; whether it was a tick. Raises BadPayload where it can't be decoded; it has had no effect then."""
        line = parse_line(wire)
        at = line.at
        at_ms = at * 1000 if type(at) is int and 0 <= at <= EPOCH_S_MAX else parse_time_ms(at)
        if self.at_ms is not None and at_ms < self.at_ms:
            raise BadPayload(f"at is {line.at!r}, before the line before it: expected lines in order of at")
        if line.topic is not None:
            payload = bytes(line.payload) if line.payload_base64 is None else _decode_base64(line.payload_base64)
            self.at_ms = at_ms
            self.decoder.ingest(line.topic, payload, at_ms)
            return False
        if line.outcome is not None:
            self.decoder.ingest_outcome(line.outcome, at_ms)
        elif line.request is not None:
            self.decoder.ingest_request(line.request, at_ms)
        elif line.supplier is not None:
            self.decoder.ingest_supplier_terms(line.terms(), at_ms)
        elif line.fleet is not None:
            self._apply_fleet_change(line.fleet, at_ms)
        elif line.tick:
            self.decoder.append(Tick(at_ms=at_ms))
        else:
            raise BadPayload("a line has none of topic, outcome, request, supplier, fleet, tick: expected one of them")
        self.at_ms = at_ms
        return bool(line.tick)

    def quarantine(self, wire: bytes, reason: str) -> None:
        """Quarantines a line that could not be decoded, with the reason."""
        self.decoder.quarantine(None, wire, reason, self.at_ms or 0)

    def drain(self) -> list[Record | Quarantined]:
        """The records of the lines since the last call."""
        return self.decoder.drain()

    def _apply_fleet_change(self, tables: dict[str, Any], at_ms: int) -> None:
        """Brings the tables into force, all or none. Raises BadPayload with every mistake."""
        text = json.dumps(tables, ensure_ascii=False)
        try:
            self.decoder.catalogue = change_catalogue_from_json(self.decoder.catalogue, text)
        except ConfigError as error:
            raise BadPayload(str(error).replace("\n", "; ")) from error
        self.decoder.append(FleetChange(at_ms=at_ms, tables=text))


def is_blank(line: bytes) -> bool:
    """Whether the line has no content and is to be skipped."""
    return len(line) < LINE_BYTES_MIN and not line.strip()


def line_time_ms(line: bytes) -> int | None:
    """The arrival time of a line; None where it can't be decoded."""
    try:
        return parse_time_ms(parse_line(line).at)
    except BadPayload:
        return None


def is_tick(line: bytes) -> bool:
    """Whether the line is a tick."""
    if b'"tick"' not in line:
        return False
    try:
        return bool(parse_line(line).tick)
    except BadPayload:
        return False


def parse_line(wire: bytes) -> _InputLine:
    """The fields of a line. Raises BadPayload where it is not JSON of the protocol's shape."""
    try:
        return _decoder.decode(wire)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadPayload(f"not a line of the protocol: {error}") from error


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadPayload(f"payload_base64 can't be read: {error}") from error
