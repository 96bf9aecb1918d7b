"""REPEAT across partitions: when what deliveries taught takes effect, so that every engine decides by the same.

A delivery taken in on UTC day X is a lesson of day X, kept by the engine that took it. At the first tick of day D every
engine puts in force the lessons of all engines of days up to D - LATE_DAYS; none of those can change any more once each
engine has reached day D - 1. Lead times that a supplier states are believed at once: lessons of days up to theirs no longer
count. So one engine over all customers and many over some of them each know the same at every tick, and nobody waits in
ordinary life. Old lessons are put together, so that a supplier has at most RECENT_DAYS + 1 in a partition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

from reactor.decision.lead_time_stats import merge_samples
from reactor.state import LeadTimeSample
from reactor.unit_of_work import UnitOfWork
from star.times import DAY_MS

EFFECT_DELAY_DAYS = 2
"""A lesson takes effect at the first tick so many days after its own: a whole day for the slowest partition to reach it."""
UNMERGED_DAYS = 4
"""Lessons of so many days stay apart, the current one among them. Partitions are within a day of each other, so the one that
is behind puts in force what is at most three days old here."""


def utc_day(at_ms: int) -> int:
    """The UTC day, counted from 1970."""
    return at_ms // DAY_MS


def record_sample(unit: UnitOfWork, supplier: str, update: Callable[[LeadTimeSample], LeadTimeSample]) -> None:
    """What became of an order is added to today's lesson about its supplier (lead_time_stats.py)."""
    today = LeadTimeSample(supplier=supplier, day=utc_day(unit.at_ms))
    unit.upsert(update(unit.state.lead_time_samples.get(f"{today.supplier}/{today.day}", today)))


def reset_learning(unit: UnitOfWork, supplier: str, stated_ms: int) -> None:
    """The supplier's lead times are others since said_ms: what was learned of the old ones is gone.

    The day is that of what was said and not of the tick, as partitions take it in at ticks of their own. Said long ago, it
    counts as said RECENT_DAYS ago, as lessons that were put together can't be taken apart.
    """
    record = unit.supplier_record(supplier)
    day = max(
        utc_day(stated_ms),
        utc_day(unit.at_ms) - UNMERGED_DAYS + 1,
        -1 if record.terms_day is None else record.terms_day,
    )
    unit.upsert(replace(record, terms_day=day, learned=None))
    unit.invalidate_quotes()


def activate_samples(unit: UnitOfWork, day: int, other_samples: Iterable[LeadTimeSample]) -> None:
    """The first tick of a day: puts in force what is known by now. others: the lessons of the other partitions."""
    own = _by_supplier(unit.state.lead_time_samples.values())
    known = _by_supplier([*unit.state.lead_time_samples.values(), *other_samples])
    for supplier in sorted(known.keys() | unit.state.suppliers.keys()):
        record = unit.supplier_record(supplier)
        after = -1 if record.terms_day is None else record.terms_day
        learned = merge_samples([one for one in known.get(supplier, ()) if after < one.day <= day - EFFECT_DELAY_DAYS])
        if learned != record.learned:
            unit.upsert(replace(record, learned=learned))
            unit.invalidate_quotes()
    for supplier in sorted(own):
        _compact_samples(unit, own[supplier], day, unit.supplier_record(supplier).terms_day)


def _compact_samples(unit: UnitOfWork, samples: list[LeadTimeSample], day: int, terms_day: int | None) -> None:
    """Makes one of the lessons that are no longer recent, and drops those that nobody can count any more.

    A partition that is behind may not know the latest terms yet, and counts what was before them: it stays until the terms
    are no longer recent either. So what is made one is all of before the terms, or all of after them.
    """
    old = [sample for sample in samples if sample.day <= day - UNMERGED_DAYS]
    over = [] if terms_day is None or terms_day > day - UNMERGED_DAYS else [x for x in samples if x.day <= terms_day]
    left = [sample for sample in old if sample not in over]
    gone = over + left if len(left) > 1 else over
    for sample in gone:
        unit.delete(sample)
    whole = merge_samples(left)
    if gone and whole is not None:
        unit.upsert(whole)


def _by_supplier(samples: Iterable[LeadTimeSample]) -> dict[str, list[LeadTimeSample]]:
    found: dict[str, list[LeadTimeSample]] = defaultdict(list)
    for sample in samples:
        found[sample.supplier].append(sample)
    return found
