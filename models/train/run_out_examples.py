"""Training examples of the run-out model: moments in series whose future consumption is known, observed as a detector would.

From daily consumption (simulated by kind of demand, or real), an example has a history and a level as observed through a gauge or a
counter (sensor_simulation.py), a prior that may be wrong, and the true time to empty, censored at the end of the series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.features import HISTORY_DAYS, LONG_DAILY_DECAY, ConsumptionHistory, run_out_features
from models.gamma_baseline import BaselineForecast, target_deviates
from models.train.mlp import Batch
from models.train.sensor_simulation import ObservedUsage, TrueUsage, drop_days, simulate_counter, simulate_gauge
from simulators.physics.demand import DemandKind, daily_use
from star.quantiles import Z_EXACT

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

DAYS_SIMULATED = 1000
"""Length of a simulated series."""
FUTURE_DAYS_MIN = 420
"""Shortest known future of a simulated example, in days: over a year, so that seasons are seen."""
FIRST_DAY = 18_262
"""2020-01-01 in days since the epoch; series start in the three years after it."""
_HOMES_PER_BATCH = 50  # simulated at once: bounds memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """n examples.

    x: (n, features); median_days, early_spread, late_spread: (n,) of the baseline; time_days: (n,) true time to empty, or a lower bound
    where censored; kind: (n,) of demand; home: (n,) number of the series, for splitting; level: (n,) estimated now; mean_28,
    deviation_28: (n,) of the known days among the last 28, for the reference forecast.
    """

    x: Float32
    median_days: Float64
    early_spread: Float64
    late_spread: Float64
    time_days: Float64
    censored: NDArray[np.bool_]
    kind: NDArray[np.str_]
    home: Int64
    level: Float64
    mean_28: Float64
    deviation_28: Float64

    def __len__(self) -> int:
        return len(self.time_days)

    def select(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Examples:
        """The examples at `rows`."""
        return Examples(**{name: getattr(self, name)[rows] for name in Examples.__slots__})

    @classmethod
    def concatenate(cls, parts: list[Examples]) -> Examples:
        """The concatenation of `parts`."""
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__})

    @property
    def baseline(self) -> BaselineForecast:
        """The baseline forecasts."""
        return BaselineForecast(self.median_days, self.early_spread, self.late_spread)

    def batch(self) -> Batch:
        """The examples for training; the target is the distance of the truth from the baseline median, in spreads."""
        y = target_deviates(self.time_days, self.baseline)
        return Batch(x=self.x, y=y, censored=self.censored, weight=np.ones(len(self)))


def simulate_examples(seed: int, homes_per_kind: int, examples_per_home: int, compound: float = 0.0) -> Examples:
    """Examples of every kind of demand. compound: share of homes with an additional slow change of demand."""
    parts = []
    for number, kind in enumerate(DemandKind):
        rng = np.random.default_rng([seed, number])
        for start in range(0, homes_per_kind, _HOMES_PER_BATCH):
            homes = min(_HOMES_PER_BATCH, homes_per_kind - start)
            first_day = FIRST_DAY + int(rng.integers(0, 1096))
            use = daily_use(kind, rng, homes, DAYS_SIMULATED, first_day)
            if compound:
                use = np.where(rng.random((homes, 1)) < compound, use * _slow_change(rng, homes, first_day), use)
            ids = number * 1_000_000 + start + np.arange(homes)
            parts.append(examples_of(rng, use, examples_per_home, kind.value, ids, FUTURE_DAYS_MIN))
    return Examples.concatenate(parts)


def examples_of(
    rng: np.random.Generator,
    use: Float64,
    per_home: int,
    kind: str,
    home_ids: Int64,
    future_days_min: int,
) -> Examples:
    """`per_home` examples of each row of (homes, days) daily consumption, each with at least `future_days_min` days after it."""
    homes, days = use.shape
    latest = days - 1 - future_days_min
    home = np.repeat(np.arange(homes), per_home)
    day = rng.integers(min(HISTORY_DAYS, latest - 1), latest, home.size)
    fraction = rng.random(home.size)
    actual = use[home, day]
    concentration = np.exp(rng.uniform(np.log(0.5), np.log(30.0), home.size))
    used_today = actual * rng.beta(concentration * fraction + 1e-3, concentration * (1.0 - fraction) + 1e-3)

    history = _window(use, home, day)
    local = np.maximum(0.5 * history.mean(axis=1) + 0.5 * use.mean(axis=1)[home], 1e-3)
    level = local * _supply_days(rng, home.size)
    time_days, censored = _times_to_empty(use, home, day, fraction, used_today, level)

    usage = TrueUsage(history=history, used_today=used_today, day_fraction=fraction, level=level)
    gauged = rng.random(home.size) < 0.5  # the others are counted
    gauge, counter = simulate_gauge(rng, usage.select(gauged)), simulate_counter(rng, usage.select(~gauged))
    observed = _merge_rows(gauged, gauge, counter)
    daily = drop_days(rng, observed.daily).astype(np.float32)
    today = np.where(rng.random(home.size) < 0.05, np.nan, observed.today).astype(np.float32)
    prior, prior_spread = _prior(rng, use.mean(axis=1)[home])
    long_days, long_use, long_squares = _long_history(rng, use, home, day, daily, history)
    x, baseline = run_out_features(
        ConsumptionHistory(
            daily=daily,
            today=today,
            today_fraction=fraction.astype(np.float32),
            level=observed.level,
            noise=observed.level_deviation,
            silent_days=observed.silent_days,
            prior_rate=prior,
            prior_spread=prior_spread,
            long_days=long_days,
            long_use=long_use,
            long_squares=long_squares,
        )
    )
    mean_28, deviation_28 = _reference(daily, prior)
    return Examples(
        x=x,
        median_days=baseline.median_days,
        early_spread=baseline.early_spread,
        late_spread=baseline.late_spread,
        time_days=time_days,
        censored=censored,
        kind=np.full(home.size, kind),
        home=home_ids[home],
        level=np.maximum(observed.level - mean_28 * observed.silent_days, 0.0),
        mean_28=mean_28,
        deviation_28=deviation_28,
    )


def _long_history(
    rng: np.random.Generator, use: Float64, home: Int64, day: Int64, daily: Float32, history: Float64
) -> tuple[Float64, Float64, Float64]:
    """(n,) decaying sums before `day`: days, consumption and its squares, over the days that the item has been observed.

    daily: (n, HISTORY_DAYS) as observed. Where it does not go back all days, its oldest day gives the item's age; the ratio of its
    squares to the true ones scales the older squares, for their observation noise.
    """
    known = ~np.isnan(daily)
    oldest = np.where(known.any(axis=1), HISTORY_DAYS - np.argmax(known[:, ::-1], axis=1), 0)
    age = np.where(oldest < HISTORY_DAYS, oldest, HISTORY_DAYS + rng.integers(0, np.maximum(day - HISTORY_DAYS, 0) + 1))
    age = np.minimum(age, day)
    observed = np.where(known, daily, 0.0).astype(np.float64)
    noise_ratio = (observed * observed).sum(axis=1) / np.maximum(
        (np.where(known, history, 0.0) ** 2).sum(axis=1), 1e-12
    )
    sums = [_decayed_sums(part)[home] for part in (np.ones_like(use), use, use * use)]
    before = [part[np.arange(len(day)), day] for part in sums]
    older = [part[np.arange(len(day)), day - age] * LONG_DAILY_DECAY**age for part in sums]
    days, used, squares = (one - other for one, other in zip(before, older, strict=True))
    return days, used, squares * np.clip(noise_ratio, 0.3, 30.0)


def _decayed_sums(values: Float64) -> Float64:
    """(homes, days + 1) decaying sums of the days before each (LONG_DAILY_DECAY)."""
    out = np.zeros((values.shape[0], values.shape[1] + 1))
    for day in range(values.shape[1]):
        out[:, day + 1] = LONG_DAILY_DECAY * out[:, day] + values[:, day]
    return out


def _slow_change(rng: np.random.Generator, homes: int, first_day: int) -> Float64:
    """(homes, DAYS_SIMULATED) factors: another demand process, smoothed over a week."""
    kind = (DemandKind.HEATING, DemandKind.YEARLY, DemandKind.SHIFTING, DemandKind.VACATIONS, DemandKind.TRENDING)[
        int(rng.integers(5))
    ]
    other = daily_use(kind, rng, homes, DAYS_SIMULATED, first_day)
    sums = np.cumsum(np.concatenate([other[:, :7], other], axis=1), axis=1)
    return np.asarray((sums[:, 7:] - sums[:, :-7]) / 7.0)


def _window(use: Float64, home: Int64, day: Int64) -> Float64:
    """(n, HISTORY_DAYS) consumption before `day`, newest first; before the start of the series its mean."""
    back = day[:, None] - 1 - np.arange(HISTORY_DAYS)
    known = use[home[:, None], np.maximum(back, 0)]
    return np.asarray(np.where(back >= 0, known, use[home, :].mean(axis=1, keepdims=True)))


def _supply_days(rng: np.random.Generator, count: int) -> Float64:
    """(count,) days that the level lasts at the mean rate: mostly within two months of run-out, sometimes far longer."""
    near = np.exp(rng.uniform(np.log(0.15), np.log(60.0), count))
    far = np.exp(rng.uniform(np.log(20.0), np.log(1500.0), count))
    return np.where(rng.random(count) < 0.7, near, far)


def _times_to_empty(
    use: Float64, home: Int64, day: Int64, fraction: Float64, used_today: Float64, level: Float64
) -> tuple[Float64, NDArray[np.bool_]]:
    """((n,) days from `day` + `fraction` until `level` is used up, (n,) whether that lies beyond the series: censored)."""
    days = use.shape[1]
    total = np.concatenate([np.zeros((len(use), 1)), np.cumsum(use, axis=1)], axis=1)
    goal = total[home, day] + used_today + level
    end = np.empty(len(home), dtype=np.int64)
    for series in range(len(use)):
        rows = home == series
        end[rows] = np.searchsorted(total[series], goal[rows])
    censored = end > days
    last = np.clip(end, 1, days) - 1  # the day of the run-out
    used_before = np.where(last == day, total[home, day] + used_today, total[home, last])
    left_of_day = np.where(last == day, 1.0 - fraction, 1.0)
    used_in_day = np.maximum(total[home, last + 1] - used_before, 1e-12)
    begin = np.where(last == day, day + fraction, last)
    moment = begin + left_of_day * np.clip((goal - used_before) / used_in_day, 0.0, 1.0)
    return np.where(censored, days - day - fraction, moment - day - fraction), censored


def _merge_rows(mask: NDArray[np.bool_], selected: ObservedUsage, others: ObservedUsage) -> ObservedUsage:
    """The rows of `selected` where `mask`, (n,), is true, and those of `others` elsewhere, each in their order."""
    columns = {}
    for name in ObservedUsage.__slots__:
        part = getattr(selected, name)
        column = np.empty((len(mask), *part.shape[1:]))
        column[mask], column[~mask] = part, getattr(others, name)
        columns[name] = column
    return ObservedUsage(**columns)


def _prior(rng: np.random.Generator, rate: Float64) -> tuple[Float64, Float64]:
    """(n,) prior rates and their spreads; for a sixth, the profile's typical customer is itself wrong."""
    spread = np.exp(rng.uniform(np.log(1.3), np.log(5.0), rate.size))
    own = np.log(spread) / Z_EXACT[0.90] * rng.normal(0.0, 1.0, rate.size)
    off = np.where(rng.random(rate.size) < 1.0 / 6.0, rng.normal(0.0, 0.7, rate.size), 0.0)
    return np.maximum(rate, 1e-3) * np.exp(-own - off), spread


def _reference(daily: Float32, prior: Float64) -> tuple[Float64, Float64]:
    """(n,) mean and standard deviation of the known days among the last 28; the prior for under three known days or no demand."""
    known = ~np.isnan(daily[:, :28])
    days = known.sum(axis=1)
    values = np.where(known, daily[:, :28], 0.0).astype(np.float64)
    mean = values.sum(axis=1) / np.maximum(days, 1)
    variance = np.where(known, (values - mean[:, None]) ** 2, 0.0).sum(axis=1) / np.maximum(days - 1, 1)
    few = (days < 3) | (mean <= 0.02 * prior)
    return np.where(few, prior, mean), np.where(few, prior, np.sqrt(variance))
