"""The run-out detector: slots are looked at in ticks, and those that may run out before a delivery could come are needs seen.

Readings go to level.py and usage.py, declarations to deliveries.py, the forecast comes from outlook.py. Here: which slots a
tick looks at, what it remembers of the look, and who is in the net. Nothing here decides to order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from config.profiles import Signal
from config.resolve import SlotItem
from star.analyse import QUANTILES, Forecast, Judged, NeedKind, NeedSeen
from star.ports import Scorer
from star.times import DAY_MS
from stream.detectors import calibrate
from stream.detectors.columns import (
    DAY,
    F_ACTIVE,
    F_CAPACITY,
    F_COUNTS,
    F_LOOK_MS,
    F_NET,
    FIRST_MS,
    FIXED_NAMES,
    FRESH,
    LAST_MS,
    LAST_VALUE,
    LEVEL,
    LOOK_LEVEL,
    LOOK_MS,
    LOOK_Q05,
    RATE,
    SEEN,
    WAKE_MS,
    Float64,
    Slots,
)
from stream.detectors.outlook import Outlook, look
from stream.state import Rows

NET_LEAD_TIMES = 4.0
NET_DAYS = 4.0
"""The net: 5 % quantile of the days to empty under so many lead times (90 % quantile, slowest supplier) and days."""
LEAD_TIME_UNKNOWN_DAYS = 3.0
"""Taken for items without a supplier."""
FAR_NETS = 2.0
FAR_SHARE = 0.02
"""A slot more than so many nets away, and fallen by less than this share of its capacity, can wait for its next wake."""
FIRST_LOW_SHARE = 0.01
"""A first reading under this share of the capacity, or over the capacity, waits for a second one: it may be an air gap."""

_Q05 = QUANTILES.index(0.05)
LOOK_GAP_MS = 30_000.0
"""A slot whose level has hardly changed is looked at no more often than this, however often it reports."""
IMMINENT_NETS, GAP_OF_DAYS = 0.4, 0.01
"""One whose 5 % quantile is further away than such a share of the net is not imminent: it is looked at again after this share
of those days."""
GAP_SHARE = 0.01
"""Of the capacity: what counts as hardly changed."""


class RunOut:
    """Slots' looks. `touched` collects rows that got readings or events since the last tick."""

    def __init__(self, slots: Slots, scorer: Scorer) -> None:
        self.slots = slots
        self.scorer = scorer
        self.touched: list[Rows] = []
        self.wake_ms: Float64 = np.empty(0)  # by row; a mirror of the column, contiguous, as every tick compares it
        self.ranks: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._wake_next_ms = -np.inf
        self.last: Outlook | None = None

    def set_items(self, items: Mapping[str, SlotItem], net_days: Callable[[SlotItem], float]) -> None:
        """The catalogue's slots in force; their rows are in the table. Others with a row are looked at no more."""
        slots = self.slots
        slots.grow()
        slots.fixed[:, F_ACTIVE] = 0.0
        for key, item in items.items():
            slots.fixed[slots.table.row(key)] = fixed_of(item, net_days(item))
        self.refresh()

    def refresh(self) -> None:
        """After rows were added or loaded."""
        table = self.slots.table
        wakes = np.full(len(table), np.inf)
        known = (table["filter"][: len(table), SEEN] > 0.0) & (self.slots.fixed[: len(table), F_ACTIVE] == 1.0)
        wakes[known] = table["look"][: len(table)][known, WAKE_MS]
        self.wake_ms = wakes
        self.ranks = table.ranks()
        self._wake_next_ms = -np.inf
        self.touched = [np.nonzero(table["filter"][: len(table), FRESH] > 0.0)[0]]

    def look(self, at_ms: int, skip: NDArray[np.bool_] | None = None) -> list[NeedSeen]:
        """The looks of a tick: needs seen, in the order of item names. skip: (rows,) those not to be looked at."""
        self.slots.judged.clear()
        rows = self._due(at_ms)
        if skip is not None:
            self.touched = [rows[skip[rows]]]
            rows = rows[~skip[rows]]
        if rows.size == 0:
            self.last = None
            return []
        rows = rows[np.argsort(self.ranks[rows])]
        self._learn_beside(rows, at_ms)
        outlook, basis = look(self.slots, rows, at_ms, self.scorer)
        calibrate.legs(self.slots, outlook, basis, self.scorer)
        self._remember(outlook)
        self.last = outlook
        near = np.nonzero(self._in_net(outlook))[0]
        return [
            NeedSeen(item=f.item, at_ms=at_ms, kind=NeedKind.RUN_OUT, cause="level", forecast=f)
            for f in self.forecasts_of(outlook, near)
        ]

    def forecasts(self, at_ms: int) -> list[Forecast]:
        """Of every slot with a reading, by item name."""
        count = len(self.slots.table)
        seen = (self.slots.table["filter"][:count, SEEN] > 0.0) & (self.slots.fixed[:count, F_ACTIVE] == 1.0)
        rows = np.nonzero(seen)[0]
        if rows.size == 0:
            return []
        rows = rows[np.argsort(self.ranks[rows])]
        outlook, _ = look(self.slots, rows, at_ms, self.scorer)
        return self.forecasts_of(outlook, np.arange(rows.size))

    def looked(self) -> list[Forecast]:
        """Of the slots looked at in the last tick."""
        return [] if self.last is None else self.forecasts_of(self.last, np.arange(self.last.rows.size))

    def take_judged(self) -> list[Judged]:
        """What became of the forecasts of the legs that ended at the last look, by item name; told once."""
        if self.last is None:
            return []
        names, at_ms = self.slots.table.names, self.last.at_ms
        judged = [Judged(item=names[row], at_ms=at_ms, level=level) for row, level in self.slots.judged]
        self.slots.judged.clear()
        return judged

    def forecasts_of(self, outlook: Outlook, at: Rows) -> list[Forecast]:
        """The forecasts at places `at` of an outlook."""
        rows, at_ms, model = outlook.rows[at], outlook.at_ms, self.scorer.name
        state = self.slots.table["filter"][rows]
        history_days = np.round(np.maximum(state[:, LAST_MS] - state[:, FIRST_MS], 0.0) / DAY_MS, 3)
        columns = zip(
            [self.slots.table.names[row] for row in rows.tolist()],
            np.maximum(outlook.level[at], 0.0).tolist(),
            map(tuple, outlook.days[at].tolist()),
            np.maximum(outlook.rate[at], 0.0).tolist(),
            outlook.trust[at].tolist(),
            state[:, SEEN].astype(np.int64).tolist(),
            state[:, LAST_MS].astype(np.int64).tolist(),
            state[:, LAST_VALUE].tolist(),
            history_days.tolist(),
            strict=True,
        )
        return [
            Forecast(
                item=item,
                at_ms=at_ms,
                level=level,
                days=days,
                rate_per_day=rate,
                trust=trust,
                model=model,
                readings=readings,
                reading_ms=reading_ms,
                reading=reading,
                history_days=known_days,
            )
            for item, level, days, rate, trust, readings, reading_ms, reading, known_days in columns
        ]

    def _due(self, at_ms: int) -> Rows:
        """The rows that this tick looks at: those with news that matters, and those whose time has come."""
        slots = self.slots
        rows = np.unique(np.concatenate(self.touched)) if self.touched else np.empty(0, dtype=np.intp)
        self.touched = []
        rows = rows[(slots.fixed[rows, F_ACTIVE] == 1.0) & (slots.table["filter"][rows, SEEN] > 0.0)]
        rows = rows[~self._far(rows, at_ms)]
        rows = self._later(rows, at_ms)
        if at_ms >= self._wake_next_ms:
            woken = np.nonzero(self.wake_ms <= at_ms)[0]
            rows = np.union1d(rows, woken)
            later = self.wake_ms[self.wake_ms > at_ms]
            self._wake_next_ms = float(later.min()) if later.size else np.inf
        return rows

    def _far(self, rows: Rows, at_ms: int) -> NDArray[np.bool_]:
        """Which rows need no look though they have news: far from the net, little changed, looked at not long ago."""
        slots = self.slots
        filters = slots.table["filter"]
        seen, fixed = slots.table["look"][rows, :WAKE_MS], slots.fixed[rows]
        far: NDArray[np.bool_] = seen[:, LOOK_MS] > 0.0
        far &= at_ms - seen[:, LOOK_MS] < fixed[:, F_LOOK_MS]
        far &= seen[:, LOOK_Q05] > FAR_NETS * fixed[:, F_NET]
        far &= np.abs(seen[:, LOOK_LEVEL] - filters[rows, LEVEL]) < FAR_SHARE * fixed[:, F_CAPACITY]
        far &= filters[rows, FRESH] < 2.0
        return far

    def _later(self, rows: Rows, at_ms: int) -> Rows:
        """The rows to look at now; the others, looked at a moment ago and little changed since, are woken soon."""
        filters, looks = self.slots.table["filter"], self.slots.table["look"]
        soon_ms = looks[rows, LOOK_MS] + self._gap_ms(rows)
        later: NDArray[np.bool_] = (looks[rows, LOOK_MS] > 0.0) & (soon_ms > at_ms) & (filters[rows, FRESH] < 2.0)
        changed = np.abs(looks[rows, LOOK_LEVEL] - filters[rows, LEVEL])
        later &= changed < GAP_SHARE * self.slots.fixed[rows, F_CAPACITY]
        if not later.any():
            return rows
        put_off, wakes = rows[later], soon_ms[later]
        looks[put_off, WAKE_MS] = np.minimum(looks[put_off, WAKE_MS], wakes)
        self.wake_ms[put_off] = looks[put_off, WAKE_MS]
        self._wake_next_ms = min(self._wake_next_ms, float(wakes.min()))
        return rows[~later]

    def _gap_ms(self, rows: Rows) -> Float64:
        """(n,) how long after a look the next one can wait where the level has hardly changed."""
        days, net = self.slots.table["look"][rows, LOOK_Q05], self.slots.fixed[rows, F_NET]
        early = GAP_OF_DAYS * DAY_MS * days
        longest_ms = np.maximum(self.slots.fixed[rows, F_LOOK_MS], LOOK_GAP_MS)
        waits = days > IMMINENT_NETS * net
        return np.where(waits, np.clip(early, LOOK_GAP_MS, longest_ms), LOOK_GAP_MS)

    def _learn_beside(self, rows: Rows, at_ms: int) -> None:
        """What the days that are over say of weather and absence, and this look of a gauge's drift."""
        beside, slots = self.slots.beside, self.slots.table
        if not beside.anything:
            return
        state, fixed = slots["filter"][rows], self.slots.fixed[rows]
        first_day = np.floor(state[:, FIRST_MS] / DAY_MS)
        beside.learn(slots, rows, float(at_ms // DAY_MS), first_day, state[:, DAY])
        levels, value, rate = fixed[:, F_COUNTS] == 0.0, state[:, LAST_VALUE], state[:, RATE]
        beside.learn_drift(slots, rows, levels, state[:, LAST_MS], value, rate, fixed[:, F_CAPACITY])

    def _remember(self, outlook: Outlook) -> None:
        slots, rows, at_ms = self.slots, outlook.rows, outlook.at_ms
        columns = slots.table["look"]
        columns[rows, LOOK_MS] = at_ms
        columns[rows, LOOK_LEVEL] = slots.table["filter"][rows, LEVEL]
        columns[rows, LOOK_Q05] = outlook.days[:, _Q05]
        wakes = at_ms + slots.fixed[rows, F_LOOK_MS]
        columns[rows, WAKE_MS] = wakes
        self.wake_ms[rows] = wakes
        self._wake_next_ms = min(self._wake_next_ms, float(wakes.min()))
        slots.table["filter"][rows, FRESH] = 0.0

    def _in_net(self, outlook: Outlook) -> NDArray[np.bool_]:
        state, fixed = self.slots.table["filter"][outlook.rows], self.slots.fixed[outlook.rows]
        near: NDArray[np.bool_] = outlook.days[:, _Q05] < fixed[:, F_NET]
        levels = fixed[:, F_COUNTS] == 0.0
        odd = (state[:, LEVEL] <= FIRST_LOW_SHARE * fixed[:, F_CAPACITY]) | (
            state[:, LEVEL] > 1.02 * fixed[:, F_CAPACITY]
        )
        near &= ~(levels & odd & (state[:, SEEN] < 2.0))
        return near


def fixed_of(item: SlotItem, net_days: float) -> list[float]:
    """The line of FIXED_NAMES of a slot."""
    fixed = {
        "capacity": item.capacity,
        "pack": item.pack,
        "noise": item.noise,
        "step": item.step,
        "rate": item.rate_per_day,
        "rate_spread": item.rate_spread,
        "look_every_ms": item.look_every_s * 1000.0,
        "counts": float(item.signal is Signal.USAGE),
        "spare_packs": float(item.spare_packs),
        "net_days": net_days,
        "active": 1.0,
    }
    return [fixed[name] for name in FIXED_NAMES]


def net_days(lead_times: Mapping[str, tuple[float, float]], suppliers: tuple[str, ...]) -> float:
    """The net of an item with these suppliers, given the lead times in force."""
    slowest = max((lead_times[name][1] for name in suppliers if name in lead_times), default=LEAD_TIME_UNKNOWN_DAYS)
    return NET_LEAD_TIMES * slowest + NET_DAYS
