"""Times inside the core: integer milliseconds since the epoch, UTC.

Inputs are RFC 3339 or epoch seconds; outputs are epoch seconds with at most three decimals. No clock is read here.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from star.errors import BadPayload

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

EPOCH_S_MIN = -62_135_596_800.0
EPOCH_S_MAX = 253_402_300_799.0
"""Years 1 to 9999, the range of RFC 3339. A number outside is no time in seconds: another unit, or garbage."""


def parse_time_ms(value: object, field: str = "at") -> int:
    """Milliseconds since the epoch of `value`: epoch seconds as a number, or an RFC 3339 text with its offset.

    Raises BadPayload, naming `field`, for anything else.
    """
    if isinstance(value, bool):
        raise BadPayload(f"{field} is {value!r}: expected epoch seconds or an RFC 3339 time")
    if isinstance(value, int | float):
        if not math.isfinite(value) or not EPOCH_S_MIN <= value <= EPOCH_S_MAX:
            raise BadPayload(f"{field} is {value!r}: expected epoch seconds of the years 1 to 9999")
        return round(value * 1000)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise BadPayload(
                f"{field} is {value[:60]!r}: expected an RFC 3339 time such as 2026-03-01T08:00:00Z"
            ) from None
        if moment.tzinfo is None:
            raise BadPayload(f"{field} is {value!r}: expected an offset, such as Z or +01:00")
        return round(moment.timestamp() * 1000)
    raise BadPayload(f"{field} is {type(value).__name__}: expected epoch seconds or an RFC 3339 time")


def epoch_seconds(at_ms: int) -> float:
    """Epoch seconds, for people and payloads; `parse_time_ms(epoch_seconds(t)) == t` for every t in range."""
    return at_ms / 1000


def utc(at_ms: int) -> datetime:
    """The moment as an aware datetime in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
