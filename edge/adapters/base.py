"""The adapter protocol, and helpers for adapters: from (topic, payload, time of arrival) to readings with names and units.

An adapter decodes; it does not judge values, number metrics or know the fleet. A payload that it can't read it refuses
whole, with the field, the value and what was expected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from star.errors import BadPayload
from star.sense import NO_BOOT, NO_SEQ

VALUES_MAX = 256
"""Most value names of one device, and so of one message."""
INT64_MAX = 2**63 - 1
ABBREVIATED_CHARS_MAX = 60
"""Most characters of a value in a reason for quarantine. Quarantine holds the whole payload beside the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedReading:
    """The values that one device measured at one moment.

    at_ms: time of measurement, milliseconds since the epoch; None where the payload has none. values: name -> finite
    number, at least one. units: name -> unit, for values whose unit the payload has. boot, seq: -1 where the device gives
    none. ignored: names of values that are not numbers, in formats that mix them with numbers.
    """

    device: str
    at_ms: int | None
    values: Mapping[str, float]
    units: Mapping[str, str] = field(default_factory=dict)
    boot: int = NO_BOOT
    seq: int = NO_SEQ
    ignored: tuple[str, ...] = ()


class Adapter(Protocol):
    """A decoder of one payload format: an object, or a module, with this function. Its entry point gives it a name."""

    def decode(self, topic: str, payload: bytes, arrived_ms: int) -> list[DecodedReading] | None:
        """The readings of a payload, in its order; None where topic or payload are of another format.

        arrived_ms: when the message arrived, in milliseconds since the epoch. Raises BadPayload, with the field, the value
        and what was expected, for a payload of this format that can't be read.
        """
        ...


def parse_json(payload: bytes) -> Any:
    """The payload as JSON, strictly: no NaN or Infinity, no byte order mark, UTF-8 only. Raises BadPayload."""
    try:
        return json.loads(payload.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadPayload(f"not UTF-8: byte {error.start} is 0x{payload[error.start]:02x}") from None
    except RecursionError:
        raise BadPayload("nested too deep: expected an object with values") from None
    except ValueError as error:
        raise BadPayload(f"not JSON: {error}") from None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def number(value: object, path: str) -> float:
    """`value` as a finite float64. Raises BadPayload, naming `path`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadPayload(f"{path} is {abbreviate(value)}: expected a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise BadPayload(f"{path} is {abbreviate(value)}: expected a finite number")
    return result


def counter(value: object, path: str, missing: int = -1) -> int:
    """`value` as a counter of 0 to 2^63 - 1; `missing` where it is None. Raises BadPayload, naming `path`."""
    if value is None:
        return missing
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INT64_MAX:
        raise BadPayload(f"{path} is {abbreviate(value)}: expected an integer from 0 to 2^63 - 1")
    return value


def check_value_name(name: str) -> None:
    """Raises BadPayload where `name` can't be used as a value's name, which becomes a part of `device/name` and of topics."""
    if not 1 <= len(name) <= 128 or name[0] == "$" or not name.isprintable() or any(c in " /+#" for c in name):
        raise BadPayload(
            f"values has the name {abbreviate(name)}: expected 1 to 128 printable characters without space, /, + and #, not starting with $"
        )


def abbreviate(value: object) -> str:
    """A value for a reason: short, on one line."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**40:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str | int | float | bool) or value is None:
        text = json.dumps(value)
    else:
        text = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else type(value).__name__
    return text if len(text) <= ABBREVIATED_CHARS_MAX else text[: ABBREVIATED_CHARS_MAX - 1] + "…"
