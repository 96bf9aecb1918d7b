"""Moments of a customer's own calendar and clock, right over changes of daylight saving time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from config.fleet import Customer
from config.time_zones import day_start_ms
from reactor.i18n import time_zone
from star.times import utc


def local_datetime(at_ms: int, customer: Customer) -> datetime:
    """The moment on the customer's clock."""
    return utc(at_ms).astimezone(time_zone(customer.timezone))


def local_to_ms(day: date, clock: time, customer: Customer) -> int:
    """When the customer's clock shows `clock` on `day`, in ms.

    A time that the clock shows twice is the later one; one that it skips is as long after the skip.
    """
    moments = (datetime.combine(day, clock, tzinfo=time_zone(customer.timezone)).replace(fold=fold) for fold in (0, 1))
    return max(round(moment.timestamp() * 1000) for moment in moments)


def day_start(day: date, customer: Customer) -> int:
    """When the day begins for the customer, in ms: the first time its clock shows that day."""
    return day_start_ms(day, customer.timezone)


def month_of(at_ms: int, customer: Customer) -> tuple[int, int]:
    """(year, month) for the customer."""
    moment = local_datetime(at_ms, customer)
    return moment.year, moment.month


def next_month_start(at_ms: int, customer: Customer) -> int:
    """When the customer's next calendar month begins, in ms."""
    first = local_datetime(at_ms, customer).date().replace(day=1)
    return local_to_ms((first + timedelta(days=32)).replace(day=1), time(), customer)
