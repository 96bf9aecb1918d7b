"""Response model: the random behaviour of suppliers and people, drawn from the seed and the subject alone.

Suppliers: lead times around the stated ones with a tail, orders lost silently or with a report, short deliveries. People: responses
after hours, rejections, cancellations, feedback on the timing, and purchases elsewhere. The default numbers are assumptions: plausible
shares that make every path of the service occur within weeks.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from star.quantiles import Z_EXACT
from star.times import DAY_MS, HOUR_MS, MINUTE_MS

SHIPPED_LEAD_TIME_SHARE = 0.6
"""Share of the lead time after which a parcel has left the supplier and its order can no longer be cancelled. An assumption of
the simulations: the rest of the lead time is transport."""
_NORMAL_90 = Z_EXACT[0.90]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseModel:
    """Probabilities and typical times of the behaviour of suppliers and people."""

    lost_orders: float = 0.03  # the order never arrives; in half of the cases the supplier reports it
    short_deliveries: float = 0.03  # less than ordered is delivered
    late: float = 0.04  # the delivery takes three times as long
    cancels: float = 0.06  # the customer cancels an order while that is possible
    accepts: float = 0.82
    declines: float = 0.08  # the rest is never answered
    acts_on_reminder: float = 0.8
    reports_refill: float = 0.75  # a refill that a sensor shows is also declared
    feedback: float = 0.35
    answer_hours: float = 4.0  # median
    requests_per_year: float = 1.5  # of a customer
    patience_hours: tuple[float, float] = (8.0, 72.0)  # shortest and longest wait before a purchase elsewhere


def content_rng(seed: int, content: str) -> np.random.Generator:
    """The random generator of one decision. content: its subject, such as a reaction's id."""
    return np.random.default_rng([seed, zlib.crc32(content.encode()), len(content)])


def draw_lead_time_days(rng: np.random.Generator, stated: tuple[float, float], responses: ResponseModel) -> float:
    """A true lead time: log-normal with the stated 10 % and 90 % quantiles, sometimes three times that."""
    low, high = np.log(stated[0]), np.log(stated[1])
    mean, deviation = (low + high) / 2.0, (high - low) / (2.0 * _NORMAL_90)
    days = float(np.exp(mean + deviation * rng.standard_normal()))
    return 3.0 * days if rng.random() < responses.late else days


def draw_answer_ms(rng: np.random.Generator, responses: ResponseModel) -> int:
    """The time until a response: log-normal, hours to days."""
    return MINUTE_MS + int(responses.answer_hours * HOUR_MS * float(np.exp(rng.standard_normal())))


def draw_patience_ms(rng: np.random.Generator, responses: ResponseModel) -> int:
    """The time until a purchase elsewhere for an empty slot: uniform over patience_hours."""
    low, high = responses.patience_hours
    return int(rng.uniform(low, high) * HOUR_MS)


def delivery_timing(days_left: float, was_empty: bool, pack_days: float) -> str:
    """The feedback on the timing of a delivery: late, early or right. days_left: of stock at delivery; pack_days: a pack lasts."""
    if was_empty:
        return "late"
    return "early" if days_left > max(0.6 * pack_days, 3.0) else "right"


def draw_gap_ms(rng: np.random.Generator, per_year: float) -> int:
    """The time until the next event of a Poisson process of `per_year`."""
    return MINUTE_MS + int(rng.exponential(365.25 * DAY_MS / per_year))
