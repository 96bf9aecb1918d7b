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

from reactor.learning import together
from reactor.state import Lesson
from reactor.turn import Turn
from star.times import DAY_MS

LATE_DAYS = 2
"""A lesson takes effect at the first tick so many days after its own: a whole day for the slowest partition to reach it."""
RECENT_DAYS = 4
"""Lessons of so many days stay apart, the current one among them. Partitions are within a day of each other, so the one that
is behind puts in force what is at most three days old here."""


def day_of(at_ms: int) -> int:
    """The UTC day, counted from 1970."""
    return at_ms // DAY_MS


def teach(turn: Turn, supplier: str, learn: Callable[[Lesson], Lesson]) -> None:
    """What became of an order is added to today's lesson about its supplier (learning.py)."""
    today = Lesson(supplier=supplier, day=day_of(turn.at_ms))
    turn.put(learn(turn.state.lessons.get(f"{today.supplier}/{today.day}", today)))


def start_over(turn: Turn, supplier: str, said_ms: int) -> None:
    """The supplier's lead times are others since said_ms: what was learned of the old ones is gone.

    The day is that of what was said and not of the tick, as partitions take it in at ticks of their own. Said long ago, it
    counts as said RECENT_DAYS ago, as lessons that were put together can't be taken apart.
    """
    memory = turn.supplier_memory(supplier)
    day = max(
        day_of(said_ms), day_of(turn.at_ms) - RECENT_DAYS + 1, -1 if memory.terms_day is None else memory.terms_day
    )
    turn.put(replace(memory, terms_day=day, learned=None))
    turn.forget_quotes()


def take_effect(turn: Turn, day: int, others: Iterable[Lesson]) -> None:
    """The first tick of a day: puts in force what is known by now. others: the lessons of the other partitions."""
    own = _by_supplier(turn.state.lessons.values())
    known = _by_supplier([*turn.state.lessons.values(), *others])
    for supplier in sorted(known.keys() | turn.state.suppliers.keys()):
        memory = turn.supplier_memory(supplier)
        after = -1 if memory.terms_day is None else memory.terms_day
        learned = together([one for one in known.get(supplier, ()) if after < one.day <= day - LATE_DAYS])
        if learned != memory.learned:
            turn.put(replace(memory, learned=learned))
            turn.forget_quotes()
    for supplier in sorted(own):
        _put_together(turn, own[supplier], day, turn.supplier_memory(supplier).terms_day)


def _put_together(turn: Turn, lessons: list[Lesson], day: int, terms_day: int | None) -> None:
    """Makes one of the lessons that are no longer recent, and drops those that nobody can count any more.

    A partition that is behind may not know the latest terms yet, and counts what was before them: it stays until the terms
    are no longer recent either. So what is made one is all of before the terms, or all of after them.
    """
    old = [lesson for lesson in lessons if lesson.day <= day - RECENT_DAYS]
    over = [] if terms_day is None or terms_day > day - RECENT_DAYS else [x for x in lessons if x.day <= terms_day]
    left = [lesson for lesson in old if lesson not in over]
    gone = over + left if len(left) > 1 else over
    for lesson in gone:
        turn.drop(lesson)
    whole = together(left)
    if gone and whole is not None:
        turn.put(whole)


def _by_supplier(lessons: Iterable[Lesson]) -> dict[str, list[Lesson]]:
    found: dict[str, list[Lesson]] = defaultdict(list)
    for lesson in lessons:
        found[lesson.supplier].append(lesson)
    return found
