"""REPEAT: what deliveries teach about lead times, and feedback about timing.

What was seen is kept as lessons, a day's together, and summed in whole numbers: the sum is the same in whatever order, and by
however many engines, it is made. What follows from it for the next order's lead time is lead_time.py's; when lessons take
effect is said in lessons.py. Timing: "late" makes running out dearer for this item, "early" makes holding dearer, "right" lets
both fade.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from reactor.lead_time import NOTHING_SEEN, LeadTime, Seen, bin_of, bins_together, lead_time
from reactor.policy import SHIFT_MAX
from reactor.state import ItemMemory, Lesson
from star.times import DAY_MS

SHIFT_STEP = 1.0
"""Doublings of cost that one "late" or "early" moves."""
SHIFT_FADE = 0.75
LEAD_DAYS_LEAST = 0.02
"""Half an hour: what comes sooner is counted as this."""
LOG_UNIT = 1e-6
"""Logarithms of lead times are kept in whole ones of these: a lead time to a millionth of itself."""
SQUARE_UNIT = 1e-9
"""Their squares in these: a supplier's ten million deliveries stay far within 64 bits."""
_SQUARES = 1_000
"""LOG_UNIT squared goes so often into SQUARE_UNIT."""


def learned_lead_time(stated: tuple[float, float], learned: Lesson | None) -> LeadTime:
    """The lead time of the next order, from the stated 10 % and 90 % quantiles in days and what is in force of the lessons."""
    return lead_time(stated, NOTHING_SEEN if learned is None else seen_of(learned))


def seen_of(lesson: Lesson) -> Seen:
    """What a lesson says, in days."""
    count = lesson.seen
    mean = lesson.log_sum * LOG_UNIT / count if count else 0.0
    variance = max(lesson.log_squares * SQUARE_UNIT / count - mean * mean, 0.0) if count else 0.0
    return Seen(
        count=count, mean=mean, variance=variance, bins=lesson.bins, lost=max(lesson.lost, 0), failed=lesson.failed
    )


def with_delivery(lesson: Lesson, ordered_ms: int, delivered_ms: int, *, found: bool = False) -> Lesson:
    """After a delivery that took from ordered_ms to delivered_ms. found: its order had been given up as lost."""
    days = max((delivered_ms - ordered_ms) / DAY_MS, LEAD_DAYS_LEAST)
    log = round(math.log(days) / LOG_UNIT)
    square = (log * log + _SQUARES // 2) // _SQUARES
    return replace(
        lesson,
        seen=lesson.seen + 1,
        log_sum=lesson.log_sum + log,
        log_squares=lesson.log_squares + square,
        bins=_added(lesson.bins, ((bin_of(log * LOG_UNIT), 1),)),
        lost=lesson.lost - found,
    )


def with_loss(lesson: Lesson) -> Lesson:
    """After an order given up as lost."""
    return replace(lesson, lost=lesson.lost + 1)


def with_failure(lesson: Lesson) -> Lesson:
    """After an order that its supplier could not deliver."""
    return replace(lesson, failed=lesson.failed + 1)


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
        bins=_added(*(lesson.bins for lesson in lessons)),
        lost=sum(lesson.lost for lesson in lessons),
        failed=sum(lesson.failed for lesson in lessons),
    )


def _added(*several: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    total: Counter[int] = Counter()
    for bins in several:
        for place, count in bins:
            total[place] += count
    return bins_together(total)


def with_feedback(memory: ItemMemory, timing: str) -> ItemMemory:
    """After the customer's word on the moment of a delivery or a contact: "early", "right" or "late"."""
    if timing == "right":
        return replace(memory, shift=memory.shift * SHIFT_FADE)
    step = SHIFT_STEP if timing == "late" else -SHIFT_STEP
    return replace(memory, shift=min(max(memory.shift + step, -SHIFT_MAX), SHIFT_MAX))
