"""REPEAT: what deliveries teach about lead times, and feedback about timing.

Lead times: the stated log-normal counts like PRIOR_WEIGHT deliveries, each observed delivery like one, so that few teach
little and many teach all. An order given up as lost counts as one that took as long as it was waited for. Timing: "late"
makes running out dearer for this item, "early" makes holding dearer, "right" lets both fade.
"""

from __future__ import annotations

import math
from dataclasses import replace

from reactor.curve import NORMAL_90, log_normal
from reactor.policy import SHIFT_MAX
from reactor.state import ItemMemory, SupplierMemory
from star.times import DAY_MS

PRIOR_WEIGHT = 6.0
SHIFT_STEP = 1.0
"""Doublings of cost that one "late" or "early" moves."""
SHIFT_FADE = 0.75
LEAD_DAYS_LEAST = 0.02
"""Half an hour: what comes sooner is counted as this."""
SPREAD_LEAST = 0.05


def learned_lead_days(stated: tuple[float, float], memory: SupplierMemory | None) -> tuple[float, float]:
    """The 10 % and 90 % lead times in days, from the stated ones towards the observed ones."""
    if memory is None or not memory.seen:
        return stated
    middle, spread = log_normal(stated)
    weight = PRIOR_WEIGHT + memory.seen
    mean = (PRIOR_WEIGHT * middle + memory.log_sum) / weight
    prior = PRIOR_WEIGHT * (spread * spread + (middle - mean) ** 2)
    seen = memory.log_squares - 2.0 * mean * memory.log_sum + memory.seen * mean * mean
    wide = max(math.sqrt(max(prior + seen, 0.0) / weight), SPREAD_LEAST) * NORMAL_90
    return math.exp(mean - wide), math.exp(mean + wide)


def with_delivery(memory: SupplierMemory, ordered_ms: int, delivered_ms: int) -> SupplierMemory:
    """After a delivery that took from ordered_ms to delivered_ms."""
    days = max((delivered_ms - ordered_ms) / DAY_MS, LEAD_DAYS_LEAST)
    log = math.log(days)
    return replace(
        memory, seen=memory.seen + 1, log_sum=memory.log_sum + log, log_squares=memory.log_squares + log * log
    )


def with_loss(memory: SupplierMemory, ordered_ms: int, lost_ms: int) -> SupplierMemory:
    """After an order given up: its lead time is at least what was waited for."""
    return replace(with_delivery(memory, ordered_ms, lost_ms), lost=memory.lost + 1)


def with_terms(memory: SupplierMemory, price: float | None, lead_days: tuple[float, float] | None) -> SupplierMemory:
    """With the supplier's new terms. New lead times are believed at once: what was learned of the old ones is gone."""
    if price is not None:
        memory = replace(memory, price=price)
    if lead_days is not None:
        memory = replace(memory, lead_days=lead_days, seen=0, log_sum=0.0, log_squares=0.0)
    return memory


def with_feedback(memory: ItemMemory, timing: str) -> ItemMemory:
    """After the customer's word on the moment of a delivery or a contact: "early", "right" or "late"."""
    if timing == "right":
        return replace(memory, shift=memory.shift * SHIFT_FADE)
    step = SHIFT_STEP if timing == "late" else -SHIFT_STEP
    return replace(memory, shift=min(max(memory.shift + step, -SHIFT_MAX), SHIFT_MAX))
