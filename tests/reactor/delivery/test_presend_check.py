"""The pre-send check of a contact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor.delivery.presend_check import Discard, Postpone, check_before_send
from reactor.rules.quiet_hours import quiet_hours_end
from star.react import ReactionType
from star.repeat import NeedState
from tests.support.delivery_fleet import START_MS, fleet_of, reaction_of

OFFER = reaction_of(ReactionType.OFFER_MADE)


def at(text: str) -> int:
    """Milliseconds of a moment in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_a_contact_that_is_still_wanted_is_pushed() -> None:
    """Consent given, question open, no quiet hours."""
    assert check_before_send(OFFER, fleet_of(), NeedState.OFFERED, START_MS) is None
    assert check_before_send(OFFER, fleet_of(), None, START_MS) is None


def test_a_withdrawn_consent_is_in_force_at_once() -> None:
    """Also for what was decided before."""
    found = check_before_send(OFFER, fleet_of(consents=["maintenance"]), NeedState.OFFERED, START_MS)
    assert found == Discard(reason="maria does not consent to replenishment any more")
    assert isinstance(
        check_before_send(reaction_of(ReactionType.OFFER_MADE, customer="gone"), fleet_of(), None, START_MS), Discard
    )


@pytest.mark.parametrize("state", [NeedState.ORDERED, NeedState.REFUSED, NeedState.CLOSED])
def test_an_answer_on_one_channel_closes_the_question_on_all(state: NeedState) -> None:
    """An offer that waited for the phone is not pushed after the tap on the device; advice still is."""
    assert isinstance(check_before_send(OFFER, fleet_of(), state, START_MS), Discard)
    assert check_before_send(reaction_of(ReactionType.ADVICE_GIVEN), fleet_of(), state, START_MS) is None


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (("22:00", "07:30"), "2025-11-24 20:59", None),
        (("22:00", "07:30"), "2025-11-24 21:00", "2025-11-25 06:30"),
        (("22:00", "07:30"), "2025-11-25 06:29", "2025-11-25 06:30"),
        (("22:00", "07:30"), "2025-11-25 06:30", None),
        (("12:00", "14:00"), "2025-11-24 12:00", "2025-11-24 13:00"),
        (("12:00", "14:00"), "2025-11-24 13:00", None),
        (("22:00", "02:30"), "2025-10-26 00:15", "2025-10-26 01:30"),  # the clock is set back: 02:30 comes twice
        (("22:00", "02:30"), "2025-10-26 01:15", "2025-10-26 01:30"),
        (("22:00", "02:30"), "2025-03-30 00:30", "2025-03-30 01:30"),  # the clock is set forward: 02:30 never comes
        (None, "2025-11-25 03:00", None),
    ],
)
def test_quiet_hours_are_those_of_the_customer_s_own_clock(
    hours: tuple[str, str] | None, now: str, until: str | None
) -> None:
    """In Paris, over midnight, at noon, and in the nights when the clock is changed."""
    catalogue = fleet_of(quiet_hours=hours, timezone="Europe/Paris")
    expected = None if until is None else Postpone(until_ms=at(until), reason="held until the end of quiet hours")
    assert check_before_send(OFFER, catalogue, NeedState.OFFERED, at(now)) == expected


CLOCK = st.times().map(lambda time: time.strftime("%H:%M"))


@given(
    st.tuples(CLOCK, CLOCK),
    st.integers(at("2024-01-01") // 60_000, at("2027-01-01") // 60_000),
    st.sampled_from(["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe"]),
)
def test_a_hold_has_an_end_within_a_day_or_so_and_is_over_then(hours: tuple[str, str], minute: int, zone: str) -> None:
    """Whatever the hours, the zone and the night: never in the past, never for ever."""
    customer = fleet_of().customers["maria"].model_copy(update={"quiet_hours": hours, "timezone": zone})
    now_ms = minute * 60_000
    until_ms = quiet_hours_end(customer, now_ms)
    if until_ms is not None:
        assert now_ms < until_ms <= now_ms + timedelta(hours=25).total_seconds() * 1000
        assert quiet_hours_end(customer, until_ms) is None
