"""A customer's local calendar and clock, right across changes of daylight saving time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from config.fleet import Customer
from config.time_zones import day_start_ms
from reactor.i18n import time_zone
from star.times import utc


def local_datetime(at_ms: int, customer: Customer) -> datetime:
    """The moment in the customer's time zone."""
    return utc(at_ms).astimezone(time_zone(customer.timezone))


def local_to_ms(day: date, clock: time, customer: Customer) -> int:
    """The moment, in ms, at which the customer's clock shows `clock` on `day`.

    Of a time that the clock shows twice, the later one; of one that it skips, as long after the skip.
    """
    moments = (datetime.combine(day, clock, tzinfo=time_zone(customer.timezone)).replace(fold=fold) for fold in (0, 1))
    return max(round(moment.timestamp() * 1000) for moment in moments)


def day_start(day: date, customer: Customer) -> int:
    """The start of the day in the customer's time zone, in ms: the first moment at which its clock shows that day."""
    return day_start_ms(day, customer.timezone)


def month_of(at_ms: int, customer: Customer) -> tuple[int, int]:
    """The (year, month) of the moment in the customer's time zone."""
    moment = local_datetime(at_ms, customer)
    return moment.year, moment.month


def next_month_start(at_ms: int, customer: Customer) -> int:
    """The start of the next calendar month in the customer's time zone, in ms."""
    first = local_datetime(at_ms, customer).date().replace(day=1)
    return local_to_ms((first + timedelta(days=32)).replace(day=1), time(), customer)
