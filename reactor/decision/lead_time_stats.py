"""Lead-time statistics of deliveries, and the timing shift of a customer's feedback.

Lead times are kept as samples, one a day, and summed in whole numbers: the sum is the same in whatever order, and by however many
engines, it is made. The distribution that follows from it is lead_time.py's; when samples take effect is learning_sync.py's.
Feedback "late" makes running out dearer for the item, "early" makes holding dearer, "right" lets both decay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from reactor.decision.lead_time import (
    NO_DELIVERIES,
    DeliveryStats,
    LeadTime,
    bin_of,
    lead_time_distribution,
    sorted_bins,
)
from reactor.decision.reorder_policy import TIMING_SHIFT_MAX
from reactor.state import ItemRecord, LeadTimeSample
from star.times import DAY_MS

TIMING_SHIFT_STEP = 1.0
"""Doublings of cost that one "late" or "early" moves."""
TIMING_SHIFT_DECAY = 0.75
LEAD_DAYS_MIN = 0.02
"""Half an hour: what comes sooner is counted as this."""
LOG_UNIT = 1e-6
"""Logarithms of lead times are kept in whole ones of these: a lead time to a millionth of itself."""
SQUARE_UNIT = 1e-9
"""Their squares in these: a supplier's ten million deliveries stay far within 64 bits."""
_LOG_UNITS_PER_SQUARE_UNIT = 1_000
"""LOG_UNIT squared goes so often into SQUARE_UNIT."""


def learned_lead_time(stated: tuple[float, float], learned: LeadTimeSample | None) -> LeadTime:
    """The lead time of the next order, from the stated 10 % and 90 % quantiles in days and what is in force of the lessons."""
    return lead_time_distribution(stated, NO_DELIVERIES if learned is None else delivery_stats(learned))


def delivery_stats(sample: LeadTimeSample) -> DeliveryStats:
    """What a lesson says, in days."""
    count = sample.seen
    mean = sample.log_sum * LOG_UNIT / count if count else 0.0
    variance = max(sample.log_squares * SQUARE_UNIT / count - mean * mean, 0.0) if count else 0.0
    return DeliveryStats(
        count=count, mean=mean, variance=variance, bins=sample.bins, lost=max(sample.lost, 0), failed=sample.failed
    )


def add_delivery(
    sample: LeadTimeSample, ordered_ms: int, delivered_ms: int, *, was_lost: bool = False
) -> LeadTimeSample:
    """After a delivery that took from ordered_ms to delivered_ms. found: its order had been given up as lost."""
    days = max((delivered_ms - ordered_ms) / DAY_MS, LEAD_DAYS_MIN)
    log = round(math.log(days) / LOG_UNIT)
    square = (log * log + _LOG_UNITS_PER_SQUARE_UNIT // 2) // _LOG_UNITS_PER_SQUARE_UNIT
    return replace(
        sample,
        seen=sample.seen + 1,
        log_sum=sample.log_sum + log,
        log_squares=sample.log_squares + square,
        bins=_merge_bins(sample.bins, ((bin_of(log * LOG_UNIT), 1),)),
        lost=sample.lost - was_lost,
    )


def add_loss(sample: LeadTimeSample) -> LeadTimeSample:
    """After an order given up as lost."""
    return replace(sample, lost=sample.lost + 1)


def add_failure(sample: LeadTimeSample) -> LeadTimeSample:
    """After an order that its supplier could not deliver."""
    return replace(sample, failed=sample.failed + 1)


def merge_samples(samples: Sequence[LeadTimeSample]) -> LeadTimeSample | None:
    """Lessons of one supplier as one, of the last one's day. None of none."""
    if not samples:
        return None
    return LeadTimeSample(
        supplier=samples[0].supplier,
        day=max(sample.day for sample in samples),
        seen=sum(sample.seen for sample in samples),
        log_sum=sum(sample.log_sum for sample in samples),
        log_squares=sum(sample.log_squares for sample in samples),
        bins=_merge_bins(*(sample.bins for sample in samples)),
        lost=sum(sample.lost for sample in samples),
        failed=sum(sample.failed for sample in samples),
    )


def _merge_bins(*several: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    total: Counter[int] = Counter()
    for bins in several:
        for place, count in bins:
            total[place] += count
    return sorted_bins(total)


def apply_feedback(record: ItemRecord, timing: str) -> ItemRecord:
    """After the customer's word on the moment of a delivery or a contact: "early", "right" or "late"."""
    if timing == "right":
        return replace(record, shift=record.shift * TIMING_SHIFT_DECAY)
    step = TIMING_SHIFT_STEP if timing == "late" else -TIMING_SHIFT_STEP
    return replace(record, shift=min(max(record.shift + step, -TIMING_SHIFT_MAX), TIMING_SHIFT_MAX))
