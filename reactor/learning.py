"""REPEAT: what deliveries teach about lead times, and feedback about timing.

Lead times: the stated log-normal counts like PRIOR_WEIGHT deliveries, each observed delivery like one, so that few teach
little and many teach all. An order given up as lost counts as one that took as long as it was waited for. What was seen is
kept as lessons, a day's together, and summed in whole numbers: the sum is the same in whatever order, and by however many
engines, it is made. When lessons take effect is said in lessons.py. Timing: "late" makes running out dearer for this item,
"early" makes holding dearer, "right" lets both fade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from reactor.curve import NORMAL_90, log_normal
from reactor.policy import SHIFT_MAX
from reactor.state import ItemMemory, Lesson
from star.times import DAY_MS

PRIOR_WEIGHT = 6.0
SHIFT_STEP = 1.0
"""Doublings of cost that one "late" or "early" moves."""
SHIFT_FADE = 0.75
LEAD_DAYS_LEAST = 0.02
"""Half an hour: what comes sooner is counted as this."""
SPREAD_LEAST = 0.05
LOG_UNIT = 1e-6
"""Logarithms of lead times are kept in whole ones of these: a lead time to a millionth of itself."""
SQUARE_UNIT = 1e-9
"""Their squares in these: a supplier's ten million deliveries stay far within 64 bits."""
_SQUARES = 1_000
"""LOG_UNIT squared goes so often into SQUARE_UNIT."""


def learned_lead_days(stated: tuple[float, float], learned: Lesson | None) -> tuple[float, float]:
    """The 10 % and 90 % lead times in days, from the stated ones towards the observed ones. learned: what is in force."""
    if learned is None or not learned.seen:
        return stated
    middle, spread = log_normal(stated)
    log_sum, log_squares = learned.log_sum * LOG_UNIT, learned.log_squares * SQUARE_UNIT
    weight = PRIOR_WEIGHT + learned.seen
    mean = (PRIOR_WEIGHT * middle + log_sum) / weight
    prior = PRIOR_WEIGHT * (spread * spread + (middle - mean) ** 2)
    seen = log_squares - 2.0 * mean * log_sum + learned.seen * mean * mean
    wide = max(math.sqrt(max(prior + seen, 0.0) / weight), SPREAD_LEAST) * NORMAL_90
    return math.exp(mean - wide), math.exp(mean + wide)


def with_delivery(lesson: Lesson, ordered_ms: int, delivered_ms: int) -> Lesson:
    """After a delivery that took from ordered_ms to delivered_ms."""
    days = max((delivered_ms - ordered_ms) / DAY_MS, LEAD_DAYS_LEAST)
    log = round(math.log(days) / LOG_UNIT)
    square = (log * log + _SQUARES // 2) // _SQUARES
    return replace(lesson, seen=lesson.seen + 1, log_sum=lesson.log_sum + log, log_squares=lesson.log_squares + square)


def with_loss(lesson: Lesson, ordered_ms: int, lost_ms: int) -> Lesson:
    """After an order given up: its lead time is at least what was waited for."""
    return replace(with_delivery(lesson, ordered_ms, lost_ms), lost=lesson.lost + 1)


def together(lessons: Sequence[Lesson]) -> Lesson | None:
    """Lessons of one supplier as one, of the last one's day. None of none."""
    if not lessons:
        return None
    return Lesson(
        supplier=lessons[0].supplier,
        day=max(lesson.day for lesson in lessons),
        seen=sum(lesson.seen for lesson in lessons),
        log_sum=sum(lesson.log_sum for lesson in lessons),
        log_squares=sum(lesson.log_squares for lesson in lessons),
        lost=sum(lesson.lost for lesson in lessons),
    )


def with_feedback(memory: ItemMemory, timing: str) -> ItemMemory:
    """After the customer's word on the moment of a delivery or a contact: "early", "right" or "late"."""
    if timing == "right":
        return replace(memory, shift=memory.shift * SHIFT_FADE)
    step = SHIFT_STEP if timing == "late" else -SHIFT_STEP
    return replace(memory, shift=min(max(memory.shift + step, -SHIFT_MAX), SHIFT_MAX))
