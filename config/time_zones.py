"""Days in the calendar of a time zone."""

from __future__ import annotations

from datetime import date, datetime, time
from zoneinfo import ZoneInfo


def day_start_ms(day: date, timezone: str) -> int:
    """Start of the day in the zone, in milliseconds since the epoch: the first moment at which its clock shows that day."""
    zone = ZoneInfo(timezone)
    moments = (datetime.combine(day, time(), tzinfo=zone).replace(fold=fold) for fold in (0, 1))
    return min(round(moment.timestamp() * 1000) for moment in moments)
