"""Declared deliveries and refills: what people and suppliers say came, before, after or without the sensor seeing it.

Usage slots count what is declared at once. A level slot lets a rise be expected: it counts in the level until it is seen, or
until the grace is over; one that was seen up to three days before is matched with its declaration instead, so that neither a
late nor an early sensor makes a second need. Spare packs wait unopened, count in the level, and are no refill when opened.
"""

from __future__ import annotations

from star.analyse import RefillSeen, RefillStage
from stream.detectors.columns import (
    F_CAPACITY,
    F_COUNTS,
    F_PACK,
    F_SPARE,
    FRESH,
    JUMP,
    JUMP_MS,
    LEVEL,
    PENDING,
    PENDING_MS,
    SEEN,
    SPARE,
    TOLD,
    Slots,
)
from stream.detectors.level import JUMP_MEMORY_MS

MATCHED_SHARE = 0.7
"""A rise of so much of a declared quantity is that delivery; what is missing is not awaited."""


def declare(slots: Slots, row: int, at_ms: int, quantity: float | None) -> None:
    """A delivery or refill of `row`, declared at `at_ms` (arrived). quantity: in the slot's unit; None: one pack."""
    state, fixed = slots.table["filter"][row], slots.fixed[row]
    amount = float(fixed[F_PACK]) if quantity is None else quantity
    state[FRESH] = 2.0
    if fixed[F_COUNTS]:
        state[LEVEL] += amount
        _tell(slots, row, at_ms, amount)
        return
    if state[JUMP] > 0.0 and at_ms - state[JUMP_MS] <= JUMP_MEMORY_MS:
        seen = float(state[JUMP])
        state[JUMP] = max(seen - amount, 0.0)
        amount = 0.0 if seen >= MATCHED_SHARE * amount else amount - seen
        if fixed[F_SPARE]:
            state[SPARE] += amount
        return
    state[TOLD] = 0.0
    if fixed[F_SPARE]:
        state[SPARE] += amount
    else:
        room = float(fixed[F_CAPACITY] - state[LEVEL]) if state[SEEN] else amount
        state[PENDING] = max(0.0, min(float(state[PENDING]) + amount, room))
        state[PENDING_MS] = at_ms
    _tell(slots, row, at_ms, amount)


def _tell(slots: Slots, row: int, at_ms: int, quantity: float) -> None:
    seen = RefillSeen(item=slots.table.names[row], at_ms=at_ms, stage=RefillStage.DECLARED, quantity=quantity)
    slots.told.append((row, seen))
