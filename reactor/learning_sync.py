"""Lead-time learning across partitions: when samples take effect, so that every engine decides by the same.

A delivery recorded on UTC day X belongs to the sample of day X, kept by the engine that recorded it. At the first tick of day D
every engine puts in force the samples of all engines of days up to D - EFFECT_DELAY_DAYS; none of those can change any more once
each engine has reached day D - 1. Lead times that a supplier states take effect at once: samples of days up to theirs no longer
count. So one engine over all customers and many engines over some of them each know the same at every tick, and in ordinary
operation none waits for another. Old samples are merged: a supplier has at most UNMERGED_DAYS + 1 in a partition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from reactor.commands import ActivateLearned, Command, Commands, CompactSamples
from reactor.decision.lead_time_stats import merge_samples
from reactor.state import LeadTimeSample, SupplierRecord
from reactor.state_view import StateView
from star.times import DAY_MS

EFFECT_DELAY_DAYS = 2
"""Days after its own at whose first tick a sample takes effect: the slowest partition has a whole day to reach it."""
UNMERGED_DAYS = 4
"""Days whose samples stay apart, the current one among them. Partitions are within a day of each other, so that the slowest one
puts in force what is at most three days old here."""


def utc_day(at_ms: int) -> int:
    """The UTC day, counted from 1970."""
    return at_ms // DAY_MS


def restart_learning(record: SupplierRecord, stated_ms: int, now_ms: int) -> SupplierRecord:
    """The record after other lead times were stated at stated_ms: what was learned of the earlier ones no longer counts.

    The day is that of the statement, not of the tick, as partitions take it in at different ticks. A statement older than
    UNMERGED_DAYS counts from there, as merged samples can't be taken apart.
    """
    day = max(
        utc_day(stated_ms),
        utc_day(now_ms) - UNMERGED_DAYS + 1,
        -1 if record.terms_day is None else record.terms_day,
    )
    return replace(record, terms_day=day, learned=None)


def activate_samples(view: StateView, day: int, other_samples: Iterable[LeadTimeSample]) -> Commands:
    """At the first tick of a day: puts in force what is known by now. other_samples: of the other partitions."""
    decided: list[Command] = []
    own = _by_supplier(view.lead_time_samples())
    known = _by_supplier([*view.lead_time_samples(), *other_samples])
    for supplier in sorted(known.keys() | view.recorded_suppliers()):
        record = view.supplier_record(supplier)
        after = -1 if record.terms_day is None else record.terms_day
        learned = merge_samples([one for one in known.get(supplier, ()) if after < one.day <= day - EFFECT_DELAY_DAYS])
        if learned != record.learned:
            decided.append(ActivateLearned(supplier=supplier, learned=learned))
    for supplier in sorted(own):
        decided += _compact_samples(own[supplier], day, view.supplier_record(supplier).terms_day)
    return tuple(decided)


def _compact_samples(samples: list[LeadTimeSample], day: int, terms_day: int | None) -> Commands:
    """Merges the samples that are no longer recent, and deletes those that no partition can count any more.

    A partition that is behind may not know the latest terms yet, and counts what was before them: such samples stay until the
    terms are no longer recent either. So a merged sample is wholly of before the terms, or wholly of after them.
    """
    old = [sample for sample in samples if sample.day <= day - UNMERGED_DAYS]
    over = [] if terms_day is None or terms_day > day - UNMERGED_DAYS else [x for x in samples if x.day <= terms_day]
    left = [sample for sample in old if sample not in over]
    deleted = over + left if len(left) > 1 else over
    return (CompactSamples(deleted=deleted, merged=merge_samples(left)),) if deleted else ()


def _by_supplier(samples: Iterable[LeadTimeSample]) -> dict[str, list[LeadTimeSample]]:
    found: dict[str, list[LeadTimeSample]] = defaultdict(list)
    for sample in samples:
        found[sample.supplier].append(sample)
    return found
