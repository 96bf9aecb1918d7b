"""Draws: the withdrawals from a slot in order of time, generated a year at a time from daily demand.

Continuous demand (oil, water) is withdrawn in eight slices a day, discrete demand (cups, cycles) in whole units at random times,
mostly when people are active. The stream is endless, and does not depend on how far ahead it is read.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from simulators.physics.demand import DemandKind, daily_use
from star.times import DAY_MS

Float64 = NDArray[np.float64]

SPAN_DAYS = 366
"""Days generated at once."""
SLICES_A_DAY = 8

PEOPLE_HOURS = np.array([1, 0, 0, 0, 0, 2, 8, 14, 10, 6, 5, 5, 8, 6, 4, 4, 5, 7, 9, 9, 7, 5, 3, 2], dtype=np.float64)
"""Relative frequency of people's use by hour of the day."""
BURNER_HOURS = np.array([4, 3, 3, 3, 4, 7, 9, 8, 6, 5, 4, 4, 4, 4, 4, 4, 5, 6, 7, 7, 6, 5, 5, 4], dtype=np.float64)
"""Relative work of a heating burner by hour of the day."""


class DrawStream:
    """An endless stream of withdrawals (at_ms, amount) in order of time, from `start_ms` on."""

    def __init__(
        self,
        rng: np.random.Generator,
        kind: DemandKind,
        rate_per_day: float,
        start_ms: int,
        *,
        unit: float | None = None,
        hours: Float64 = PEOPLE_HOURS,
        temperature_c: Float64 | None = None,
    ) -> None:
        """rng: this stream's own. rate_per_day: mean demand. unit: size of one withdrawal; None: continuous demand.

        hours: (24,) relative frequency by hour. temperature_c: mean by day from the day of `start_ms` on, for heating.
        """
        self._rng = rng
        self._kind = kind
        self._rate = rate_per_day
        self._unit = unit
        self._hours = hours / hours.sum()
        self._temperature = temperature_c
        self._first_day = start_ms // DAY_MS
        self._start_ms = start_ms
        self._days = 0
        self._deficit = float(rng.random())
        self.at_ms: list[int] = []
        self.amount: list[float] = []
        self.cumulative_use: list[float] = []  # running sum up to and including each draw

    def count_until(self, to_ms: int) -> int:
        """The number of draws at or before `to_ms`, generated as needed."""
        while (self._first_day + self._days) * DAY_MS <= to_ms:
            self._extend()
        return bisect_right(self.at_ms, to_ms)

    def cumulative_use_at(self, to_ms: int) -> float:
        """The total demand at or before `to_ms`."""
        count = self.count_until(to_ms)
        return self.cumulative_use[count - 1] if count else 0.0

    def time_of_cumulative_use(self, total: float, horizon_ms: int) -> int | None:
        """The time at which the total demand exceeds `total`; None where that lies beyond `horizon_ms`."""
        self.count_until(horizon_ms)
        index = bisect_right(self.cumulative_use, total)
        if index == len(self.cumulative_use) or self.at_ms[index] > horizon_ms:
            return None
        return self.at_ms[index]

    def _extend(self) -> None:
        day = self._first_day + self._days
        daily = self._rate * daily_use(self._kind, self._rng, 1, SPAN_DAYS, day, self._weather())[0]
        moments, amounts = self._sliced(daily) if self._unit is None else self._counted(daily, self._unit)
        at_ms = (day * DAY_MS + moments * DAY_MS).astype(np.int64)
        later = at_ms > self._start_ms
        at_ms, amounts = at_ms[later], amounts[later]
        before = self.cumulative_use[-1] if self.cumulative_use else 0.0
        self.at_ms.extend(at_ms.tolist())
        self.amount.extend(amounts.tolist())
        self.cumulative_use.extend((before + np.cumsum(amounts)).tolist())
        self._days += SPAN_DAYS

    def _weather(self) -> Float64 | None:
        if self._temperature is None:
            return None
        days = np.arange(self._days, self._days + SPAN_DAYS) % len(self._temperature)
        return self._temperature[None, days]

    def _sliced(self, daily: Float64) -> tuple[Float64, Float64]:
        """(times in days, amounts) of continuous demand: at the end of each slice, with the share of its hours."""
        shares = self._hours.reshape(SLICES_A_DAY, -1).sum(axis=1)
        ends = (np.arange(SLICES_A_DAY) + 1.0) / SLICES_A_DAY - 1e-6
        moments = np.arange(SPAN_DAYS)[:, None] + ends
        amounts = (daily[:, None] * shares).ravel()
        positive = amounts > 0
        return moments.ravel()[positive], amounts[positive]

    def _counted(self, daily: Float64, unit: float) -> tuple[Float64, Float64]:
        """(times in days, amounts) of whole units; a remainder below one unit is carried to the following days."""
        wanted = self._deficit + np.cumsum(daily / unit)
        whole = np.floor(wanted)
        counts = np.diff(whole, prepend=0.0).astype(np.int64)
        self._deficit = float(wanted[-1] - whole[-1])
        day = np.repeat(np.arange(SPAN_DAYS), counts)
        hour = self._rng.choice(24, day.size, p=self._hours)
        moments = np.sort(day + (hour + self._rng.random(day.size)) / 24.0)
        return moments, np.full(day.size, unit)
