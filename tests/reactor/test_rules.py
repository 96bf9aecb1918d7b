"""Each rule by itself: what it allows, what it refuses, and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.catalogue import SlotItem
from config.fleet import Customer
from reactor.decision.lead_time import lead_time_distribution
from reactor.decision.quotes import Quote
from reactor.rules.absence import blocked_spans, check_absence
from reactor.rules.budget import check_budget, spent_in_month
from reactor.rules.consent import check_consent
from reactor.rules.contact_limit import WINDOW_MS, add_contact, check_contact_limit
from reactor.rules.price_limit import check_price_limit
from reactor.rules.quiet_hours import check_quiet_hours, quiet_hours_end
from reactor.state import ContactHistory, Order
from star.analyse import NeedKind
from star.repeat import OrderState
from star.times import DAY_MS, parse_time_ms
from tests.support.household import catalogue_of


def customer(**choices: Any) -> Customer:
    """A customer in Paris."""
    return Customer.model_validate({"id": "maria", "timezone": "Europe/Paris", **choices})


def shown(at_ms: int | None) -> str | None:
    """The moment in UTC, short."""
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%m-%dT%H:%M")


NIGHT = ("22:00", "07:30")


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (NIGHT, "2026-03-02T20:59:59Z", None),
        (NIGHT, "2026-03-02T21:00:00Z", "03-03T06:30"),
        (NIGHT, "2026-03-03T06:29:59Z", "03-03T06:30"),
        (NIGHT, "2026-03-03T06:30:00Z", None),
        (("13:00", "15:00"), "2026-03-03T11:59:00Z", None),
        (("13:00", "15:00"), "2026-03-03T12:00:00Z", "03-03T14:00"),
        (("13:00", "15:00"), "2026-03-03T14:00:00Z", None),
        # The clock is set forward on 29 March at 01:00Z: the night is an hour shorter.
        (NIGHT, "2026-03-28T23:00:00Z", "03-29T05:30"),
        # It is set back on 25 October at 01:00Z: an hour longer.
        (NIGHT, "2026-10-24T21:00:00Z", "10-25T06:30"),
        # Hours that end at a time the clock skips end as long after the skip.
        (("22:00", "02:30"), "2026-03-28T23:00:00Z", "03-29T01:30"),
        # Hours that end at a time the clock shows twice end the second time.
        (("22:00", "02:30"), "2026-10-24T21:00:00Z", "10-25T01:30"),
        (None, "2026-03-03T00:00:00Z", None),
    ],
)
def test_quiet_hours_are_those_of_the_customers_own_clock(
    hours: tuple[str, str] | None, now: str, until: str | None
) -> None:
    """Across midnight, within a day, and over both changes of daylight saving time."""
    assert shown(quiet_hours_end(customer(quiet_hours=hours), parse_time_ms(now))) == until


def test_the_end_of_quiet_hours_is_never_quiet_itself() -> None:
    """Every half hour of a year with both changes of the clock: what is held until then may be said then."""
    for hours in (NIGHT, ("01:15", "02:45"), ("02:15", "03:00"), ("23:30", "00:30")):
        maria = customer(quiet_hours=hours)
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        while moment.year == 2026:
            at_ms = round(moment.timestamp() * 1000)
            until_ms = quiet_hours_end(maria, at_ms)
            if until_ms is not None:
                assert until_ms > at_ms
                assert quiet_hours_end(maria, until_ms) is None, (hours, moment)
            moment += timedelta(minutes=30)
    assert not check_quiet_hours(customer(quiet_hours=NIGHT), parse_time_ms("2026-03-02T23:00:00Z")).allowed


def test_contacts_are_limited_in_any_seven_days() -> None:
    """The limit holds in the rolling week, and says when the next contact is free; a limit of none is for good."""
    maria, start = customer(contacts_per_week_max=2), 1_000_000 * DAY_MS
    contacts: ContactHistory | None = None
    assert check_contact_limit(maria, contacts, start).allowed
    contacts = add_contact(contacts, "maria", start)
    contacts = add_contact(contacts, "maria", start + DAY_MS)
    refused = check_contact_limit(maria, contacts, start + 2 * DAY_MS)
    assert not refused.allowed
    assert refused.until_ms == start + WINDOW_MS + 1
    assert check_contact_limit(maria, contacts, refused.until_ms).allowed
    never = check_contact_limit(customer(contacts_per_week_max=0), None, start)
    assert (never.allowed, never.until_ms) == (False, None)


def order_of(price: float, at: str, state: OrderState = OrderState.OUTSTANDING, booking: bool = False) -> Order:
    """An order of Maria's."""
    return Order(
        id="d/i/1/order/1",
        need="d/i/1",
        item="d/i",
        customer="maria",
        supplier="acme",
        sku=None,
        quantity=1.0,
        price=price,
        at_ms=parse_time_ms(at),
        lead_days=(1.0, 2.0),
        state=state,
        booking=booking,
    )


def test_the_budget_is_of_the_customers_calendar_month() -> None:
    """Paris is in April before UTC is; cancelled and failed orders are released, lost and delivered ones are not."""
    orders = [
        order_of(100.0, "2026-03-31T21:59:00Z"),
        order_of(7.0, "2026-03-31T22:00:00Z"),
        order_of(20.0, "2026-04-03T12:00:00Z", OrderState.DELIVERED),
        order_of(1.0, "2026-04-03T12:00:00Z", OrderState.LOST, booking=True),
        order_of(50.0, "2026-04-03T12:00:00Z", OrderState.CANCELLED),
        order_of(60.0, "2026-04-03T12:00:00Z", OrderState.FAILED),
    ]
    now = parse_time_ms("2026-04-10T12:00:00Z")
    maria = customer(budget_per_month=120.0)
    assert spent_in_month(maria, orders, now) == 28.0
    assert check_budget(maria, 28.0, 92.0, now).allowed
    refused = check_budget(maria, 28.0, 92.01, now)
    assert not refused.allowed
    assert shown(refused.until_ms) == "04-30T22:00"
    assert check_budget(customer(), 1e9, 1e9, now).allowed


@pytest.mark.parametrize(
    ("now", "allowed", "until"),
    [
        ("2026-07-26T21:59:00Z", True, None),  # five days later is still the day before
        ("2026-07-26T22:00:00Z", False, "08-19T22:00"),
        ("2026-08-10T00:00:00Z", False, "08-19T22:00"),
        ("2026-08-19T21:59:00Z", False, "08-19T22:00"),  # two days later it could still arrive on the last day
        ("2026-08-19T22:00:00Z", True, None),
    ],
)
def test_nothing_is_ordered_that_could_arrive_on_a_day_of_absence(now: str, allowed: bool, until: str | None) -> None:
    """With lead times of two to five days and an absence from the 1st to the 21st of August, in Paris."""
    verdict = check_absence(customer(away=[("2026-08-01", "2026-08-21")]), parse_time_ms(now), (2.0, 5.0))
    assert verdict.allowed is allowed
    assert shown(verdict.until_ms) == until


def test_absences_close_together_are_one() -> None:
    """An order between them could arrive in either."""
    maria = customer(away=[("2026-08-01", "2026-08-05"), ("2026-08-08", "2026-08-10"), ("2020-01-01", "2020-01-02")])
    spans = blocked_spans(maria, parse_time_ms("2026-07-01T00:00:00Z"), (2.0, 5.0))
    assert [(shown(start), shown(end)) for start, end in spans] == [("07-26T22:00", "08-08T22:00")]


def test_the_price_that_counts_is_of_one_pack() -> None:
    """A smaller product is scaled up to a pack."""
    item = catalogue_of().slots["tank-7/oil"]
    assert isinstance(item, SlotItem)
    small = Quote(
        supplier="acme",
        sku="s",
        quantity=250.0,
        price=330.0,
        lead_time=lead_time_distribution((1.0, 2.0)),
        stated_days=(1.0, 2.0),
    )
    verdict = check_price_limit(customer(), item, small)
    assert not verdict.allowed
    assert "660.00" in verdict.reason


def test_consent_is_asked_by_purpose() -> None:
    """Replenishment for what runs out, maintenance for parts."""
    maria = customer(consents=["replenishment"], language="fr")
    assert check_consent(maria, NeedKind.RUN_OUT).allowed
    refused = check_consent(maria, NeedKind.SERVICE_DUE)
    assert not refused.allowed
    assert refused.reason == "vous n'avez pas consenti à : entretien"
