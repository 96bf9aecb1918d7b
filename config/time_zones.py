"""Days of a time zone's own calendar."""

from __future__ import annotations

from datetime import date, datetime, time
from zoneinfo import ZoneInfo


def day_start_ms(day: date, timezone: str) -> int:
    """When the day begins in the zone, in ms since the epoch: the first time its clock shows that day."""
    zone = ZoneInfo(timezone)
    moments = (datetime.combine(day, time(), tzinfo=zone).replace(fold=fold) for fold in (0, 1))
    return min(round(moment.timestamp() * 1000) for moment in moments)
