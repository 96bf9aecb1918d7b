"""What suppliers and people really do, drawn from the seed and the reaction's id alone, so that order of calls is nothing.

Suppliers: lead times around the stated ones with a tail, losses in silence or declared, short deliveries. People: answers
after hours, declines, cancellations, feedback on the timing, and buying elsewhere when a shelf stays empty.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from star.quantiles import Z_EXACT
from star.times import DAY_MS, HOUR_MS, MINUTE_MS

_NORMAL_90 = Z_EXACT[0.90]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseModel:
    """How the suppliers and people of a neighbourhood behave: shares of cases, and typical times."""

    lost_orders: float = 0.03  # an order never arrives; half of these the supplier says so
    short_deliveries: float = 0.03  # an order brings less
    late: float = 0.04  # an order takes three times as long
    cancels: float = 0.06  # the customer cancels an order within the window
    accepts: float = 0.82
    declines: float = 0.08  # what is neither accepted nor declined is never answered
    acts_on_reminder: float = 0.8
    reports_refill: float = 0.75  # someone who refilled a measured shelf also says so
    feedback: float = 0.35
    answer_hours: float = 4.0
    requests_per_year: float = 1.5
    patience_hours: tuple[float, float] = (8.0, 72.0)  # until one buys elsewhere


def content_rng(seed: int, content: str) -> np.random.Generator:
    """A generator for one decision, from what it is about."""
    return np.random.default_rng([seed, zlib.crc32(content.encode()), len(content)])


def draw_lead_time_days(rng: np.random.Generator, stated: tuple[float, float], responses: ResponseModel) -> float:
    """A true lead time: log-normal through the stated 10 % and 90 % quantiles, sometimes three times that."""
    low, high = np.log(stated[0]), np.log(stated[1])
    middle, spread = (low + high) / 2.0, (high - low) / (2.0 * _NORMAL_90)
    days = float(np.exp(middle + spread * rng.standard_normal()))
    return 3.0 * days if rng.random() < responses.late else days


def draw_answer_ms(rng: np.random.Generator, responses: ResponseModel) -> int:
    """How long someone takes to answer: hours, sometimes days."""
    return MINUTE_MS + int(responses.answer_hours * HOUR_MS * float(np.exp(rng.standard_normal())))


def draw_patience_ms(rng: np.random.Generator, responses: ResponseModel) -> int:
    """How long someone lives with an empty shelf before buying elsewhere."""
    low, high = responses.patience_hours
    return int(rng.uniform(low, high) * HOUR_MS)


def delivery_timing(days_left: float, was_empty: bool, pack_days: float) -> str:
    """What a customer would say of the moment of a delivery."""
    if was_empty:
        return "late"
    return "early" if days_left > max(0.6 * pack_days, 3.0) else "right"


def draw_gap_ms(rng: np.random.Generator, per_year: float) -> int:
    """Time until the next of `per_year` events."""
    return MINUTE_MS + int(rng.exponential(365.25 * DAY_MS / per_year))
