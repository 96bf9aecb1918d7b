"""The adapter `canonical`: `starloop/v1/<device>/telemetry` with `{"at", "seq", "boot", "values": {name: number}}`, or a list.

`decode_fast` is the fast path of edge/decoder.py, for nearly every message. What it refuses is parsed again by `decode`,
which is slower and names the field that is wrong. Both accept the same messages.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from edge.adapters.base import (
    INT64_MAX,
    VALUES_MAX,
    DecodedReading,
    abbreviate,
    check_value_name,
    counter,
    number,
    parse_json,
)
from star.errors import BadPayload
from star.times import parse_time_ms

TOPIC_ROOT = "starloop/v1/"
TELEMETRY = "/telemetry"
Counter = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class TelemetryMessage(msgspec.Struct):
    """One canonical message."""

    values: dict[str, float]
    at: float | int | str | None = None
    seq: Counter | None = None
    boot: Counter | None = None


decode_fast = msgspec.json.Decoder(TelemetryMessage).decode
"""bytes -> TelemetryMessage. Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError."""
decode_fast_list = msgspec.json.Decoder(list[TelemetryMessage]).decode
"""The same for a list of messages."""


def device_of(topic: str, kind: str = TELEMETRY) -> str | None:
    """The device of the topic `starloop/v1/<device><kind>`, or None where it is not of that form."""
    if not topic.startswith(TOPIC_ROOT) or not topic.endswith(kind):
        return None
    device = topic[len(TOPIC_ROOT) : -len(kind)]
    return None if not device or "/" in device else device


def decode(topic: str, payload: bytes, arrived_ms: int) -> list[DecodedReading] | None:
    """See edge.adapters.base.Adapter."""
    device = device_of(topic)
    return None if device is None else parse_readings(device, parse_json(payload))


def parse_readings(device: str, body: Any) -> list[DecodedReading]:
    """The readings of the JSON of one message, or of a list of messages. Raises BadPayload."""
    if not isinstance(body, list):
        return [_parse_reading(device, body, "")]
    if not body:
        raise BadPayload("the payload is an empty list: expected an object with values, or a list of such")
    return [_parse_reading(device, entry, f"[{place}].") for place, entry in enumerate(body)]


def _parse_reading(device: str, body: Any, path: str) -> DecodedReading:
    if not isinstance(body, dict):
        where = path.rstrip(".") or "the payload"
        raise BadPayload(f"{where} is {abbreviate(body)}: expected an object with values, or a list of such")
    values = body.get("values")
    if not isinstance(values, dict) or not values:
        found = "missing" if "values" not in body else "empty" if values == {} else abbreviate(values)
        raise BadPayload(f"{path}values is {found}: expected an object of names and numbers")
    if len(values) > VALUES_MAX:
        raise BadPayload(f"{path}values has {len(values)} names: expected at most {VALUES_MAX}")
    for name in values:
        check_value_name(name)
    at = body.get("at")
    return DecodedReading(
        device=device,
        at_ms=None if at is None else parse_time_ms(at, f"{path}at"),
        values={name: number(value, f"{path}values.{name}") for name, value in values.items()},
        boot=counter(body.get("boot"), f"{path}boot"),
        seq=counter(body.get("seq"), f"{path}seq"),
    )
