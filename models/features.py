"""Features of the run-out model: one function for training and serving.

The gamma baseline (gamma_baseline.py) forecasts the time to empty in closed form: a median, and an early and a late spread. The
network outputs quantiles in units of those spreads, from features that describe what the baseline rests on. So the forecast is narrow
where demand is regular, even for inputs unlike any training data.

Everything is relative to the item's own rate and level, so the features do not depend on the unit. A row's features depend on
that row only, bit for bit: sums run over the leading axis of (days, items) arrays, in the order of days, and never through BLAS,
whose order of summation depends on the shape.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from models.gamma_baseline import SILENT_DAYS_KEPT, BaselineForecast, baseline_forecast
from star.quantiles import Z_EXACT

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

HISTORY_DAYS = 56
"""Days of history used one by one: eight whole weeks."""
WINDOWS = (1, 3, 7, 14, 28, 56)
"""Lengths of the nested windows, in days back from the newest complete day."""
LONG_TIME_CONSTANT_DAYS = 180.0
"""Time constant of the exponentially decaying sums over older history."""
LONG_DAILY_DECAY = 1.0 - 1.0 / LONG_TIME_CONSTANT_DAYS
"""Factor of those sums from one day to the next."""
FEATURE_NAMES = (
    "scale",
    "known_56",
    "known_7",
    *(f"mean_{window}" for window in WINDOWS),
    "mean_long",
    "variation",
    "variation_14",
    "used_days_56",
    "used_days_14",
    "used_days_7",
    "largest_day",
    "repeats_1",
    "week",
    "weekly_variation",
    "today_surplus",
    "today_fraction",
    "prior",
    "prior_spread",
    "noise_of_level",
    "level_believed",
    "noise_of_day",
    "silent_share",
    "silent_days",
    "centre_of_week",
    "spread_early",
    "spread_late",
    "spread_of_rate",
    "spread_of_change",
    "events_in_level",
    "known_long",
)
"""Names of the columns, in order. Part of the model's card: a change makes a new model."""
FEATURES_COUNT = len(FEATURE_NAMES)
FEATURE_MAX = 8.0
"""Features are clipped to this absolute value."""

_ROWS_MAX = 2048  # rows of a chunk, so that the scratch memory of a thread fits into the processor's cache
_ROWS_MIN = 8  # fewer rows are padded, as numpy sums an axis in another order when the other one has length 1
_NORMAL_90 = Z_EXACT[0.90]  # 90 % quantile of the standard normal distribution
_PRIOR_ERROR_VARIANCE = 0.1  # variance of the logarithm of the rate that a profile's prior may be off by
_USED_DAY_MIN = 0.05  # of the rate: a day with less counts as a day without demand
_CHANCE_FACTOR = 1.7  # times the variance of weekly means that independent days would have: up to this it is chance
_WEEKS = HISTORY_DAYS // 7


@dataclass(frozen=True, slots=True)
class ConsumptionHistory:
    """The consumption history of n items at one moment. All quantities of a row are in one unit.

    daily: (n, HISTORY_DAYS) consumption per day, newest complete UTC day first, NaN where unknown. today: (n,) so far today, NaN where
    unknown. today_fraction: (n,) of the UTC day elapsed, 0 to 1. level: (n,) estimated at the latest reading, may be negative.
    noise: (n,) standard deviation of that estimate. silent_days: (n,) since that reading, over which the rate is extrapolated.
    prior_rate: (n,) consumption per day of the median customer, above 0; prior_spread: (n,) 90 % quantile over that median, above
    1. long_days, long_use, long_squares: (n,) number of days, their consumption and its squares, as decaying sums (LONG_DAILY_DECAY).
    """

    daily: Float32
    today: Float32
    today_fraction: Float32
    level: Float64
    noise: Float64
    silent_days: Float64
    prior_rate: Float64
    prior_spread: Float64
    long_days: Float64
    long_use: Float64
    long_squares: Float64

    def __len__(self) -> int:
        return int(self.daily.shape[0])

    def select(self, rows: NDArray[np.intp]) -> ConsumptionHistory:
        """The items at `rows`."""
        return ConsumptionHistory(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def padded_chunk(self, start: int) -> ConsumptionHistory:
        """The rows from `start` on, at most _ROWS_MAX; the last one is repeated where there are fewer than _ROWS_MIN."""
        columns = {}
        for field in fields(self):
            rows = getattr(self, field.name)[start : start + _ROWS_MAX]
            missing = _ROWS_MIN - len(rows)
            columns[field.name] = (
                rows if missing <= 0 else np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])
            )
        return ConsumptionHistory(**columns)


def run_out_features(history: ConsumptionHistory) -> tuple[Float32, BaselineForecast]:
    """(n, FEATURES_COUNT) features, and the baseline forecast of the days until the level is used up."""
    rows = len(history)
    features = np.empty((rows, FEATURES_COUNT), dtype=np.float32)
    baselines = np.empty((3, rows))
    for start in range(0, rows, _ROWS_MAX):
        count = min(_ROWS_MAX, rows - start)
        columns, baseline = _feature_block(history.padded_chunk(start))
        features[start : start + count] = columns.T[:count]
        for row, values in zip(
            baselines, (baseline.median_days, baseline.early_spread, baseline.late_spread), strict=True
        ):
            row[start : start + count] = values[:count]
    return features, BaselineForecast(*baselines)


@dataclass(slots=True)
class _DailyUsage:
    """Daily consumption of n items, relative to their rate.

    use: (HISTORY_DAYS, n), 0 where unknown; known_mask: likewise, 1 where known; scratch: likewise, free to overwrite; complete: whether
    all days are known. sums, counts: (6, n) over the nested windows. rate: (n,) per day in the row's unit. prior: (n,) variance of
    the logarithm of customers' rates. today, elapsed: (n,), 0 where today is unknown. squares, squares_14: (n,) sums of squares of 56
    and 14 days. older_days, older_use, older_squares: (n,) decaying sums over the days before those 56.
    """

    use: Float64
    known_mask: Float64
    scratch: Float64
    complete: bool
    sums: Float64
    counts: Float64
    rate: Float64
    prior: Float64
    today: Float64
    elapsed: Float64
    squares: Float64
    squares_14: Float64
    older_days: Float64
    older_use: Float64
    older_squares: Float64


def _feature_block(history: ConsumptionHistory) -> tuple[Float64, BaselineForecast]:
    """(FEATURES_COUNT, n) features and the baseline of _ROWS_MIN to _ROWS_MAX rows."""
    days = _daily_usage(history)
    sums, counts, rate = days.sums, days.counts, days.rate
    used_7, used_14, used_56 = _used_days(days)
    used_day_share = (used_56 + 0.5) / (counts[5] + 1.0)
    noise_of_day = history.noise / rate
    week, between, variation = _usage_variation(days, used_day_share, noise_of_day)
    weekly = _weekly_variance(days)
    changes = np.maximum(weekly - _CHANCE_FACTOR * variation / 7.0, 0.0)

    now = history.level - rate * history.silent_days
    assumed_level = np.maximum(
        np.maximum(now, 0.5 * history.noise), rate * (0.02 + SILENT_DAYS_KEPT * history.silent_days)
    )
    scale = assumed_level / rate
    ahead = scale + history.silent_days
    evidence = 0.5 * (counts[4] + counts[5]) + days.elapsed + 0.5 * days.older_days
    rate_variance = 1.0 / (1.0 / (days.prior + _PRIOR_ERROR_VARIANCE) + evidence / (variation + 0.02))
    grows = 0.03 + 0.06 * np.log1p(ahead / 4.0)
    change_variance = grows * grows + np.minimum(0.5 * changes, 0.25)
    weekday_factor = _weekday_adjusted_days(scale, week, days.elapsed) / scale
    baseline = baseline_forecast(
        scale,
        history.silent_days,
        variation,
        rate_variance + change_variance,
        noise_of_day * noise_of_day,
        weekday_factor,
    )

    out = np.empty((FEATURES_COUNT, len(history)))
    out[0] = scale
    out[1] = counts[5] / HISTORY_DAYS
    out[2] = counts[2] / 7.0
    out[3:9] = _relative_mean(sums, counts, 1.0)
    out[9] = (days.older_use + 2.0) / (days.older_days + 2.0)
    out[10] = variation
    days_14 = np.maximum(counts[3], 1.0)
    mean_14 = sums[3] / days_14
    out[11] = 0.01 + np.maximum(days.squares_14 / days_14 - mean_14 * mean_14, 0.0)
    out[12] = used_day_share
    out[13] = (used_14 + 0.5) / (counts[3] + 1.0)
    out[14] = (used_7 + 0.5) / (counts[2] + 1.0)
    out[15] = 1.0 + np.maximum(np.maximum.reduce(days.use, axis=0), 0.0)
    out[16] = _lag_one_autocorrelation(days)
    out[17] = np.sqrt(between)
    out[18] = np.sqrt(weekly)
    out[19] = days.today - days.elapsed * week[0]
    out[20] = days.elapsed
    out[21] = history.prior_rate / rate
    out[22] = history.prior_spread
    out[23] = np.log1p(10.0 * history.noise / assumed_level)
    out[24] = now / assumed_level
    out[25] = np.log1p(noise_of_day)
    out[26] = history.silent_days / ahead
    out[27] = np.log1p(history.silent_days)
    out[28] = baseline.median_days / scale
    out[29] = baseline.early_spread
    out[30] = baseline.late_spread
    out[31] = rate_variance
    out[32] = change_variance
    out[33] = np.log1p(scale / (1.0 + variation))
    out[34] = days.older_days / LONG_TIME_CONSTANT_DAYS
    for logs in _LOG_COLUMNS:
        np.log(np.maximum(out[logs], 1e-3), out=out[logs])
    np.clip(out, -FEATURE_MAX, FEATURE_MAX, out=out)
    return out, baseline


_LOG_COLUMNS = (slice(0, 1), slice(3, 16), slice(21, 23), slice(28, 33))
"""Columns whose logarithm is the feature."""


def _daily_usage(history: ConsumptionHistory) -> _DailyUsage:
    use, known_mask, work = _scratch(len(history))
    use[:] = history.daily.T
    known = use == use
    complete = bool(known.all())
    if not complete:
        use[~known] = 0.0
    known_mask[:] = known
    counts, sums = _window_sums(known_mask), _window_sums(use)
    today_known = history.today == history.today
    today = np.where(today_known, history.today, 0.0).astype(np.float64)
    elapsed = np.where(today_known, history.today_fraction, 0.0).astype(np.float64)
    prior = np.log(np.maximum(history.prior_spread, 1.05)) / _NORMAL_90
    prior = prior * prior
    np.multiply(use, use, out=work)
    squares_14 = np.add.reduce(work[:14], axis=0)
    squares = squares_14 + np.add.reduce(work[14:], axis=0)
    older_days = np.maximum(history.long_days - counts[5], 0.0)
    older_use = np.maximum(history.long_use - sums[5], 0.0)

    # Weight of the prior: the number of days that determine the rate as well, few for regular and many for lumpy demand.
    recent_days = 0.5 * (counts[4] + counts[5]) + elapsed + 0.25 * older_days
    recent_use = 0.5 * (sums[4] + sums[5]) + today + 0.25 * older_use
    mean = (recent_use + 0.3 * history.prior_rate) / (recent_days + 0.3)
    variation = (squares + 3.0 * mean * mean) / ((counts[5] + 2.0) * mean * mean) - 1.0
    prior_days = np.clip(np.maximum(variation, 0.1) / (prior + _PRIOR_ERROR_VARIANCE), 0.15, 8.0)
    prior_use = prior_days * history.prior_rate
    rate = np.maximum(prior_use + recent_use, 0.5 * prior_use) / (prior_days + recent_days)

    use /= rate
    sums /= rate
    return _DailyUsage(
        use=use,
        known_mask=known_mask,
        scratch=work,
        complete=complete,
        sums=sums,
        counts=counts,
        rate=rate,
        prior=prior,
        today=today / rate,
        elapsed=elapsed,
        squares=squares / (rate * rate),
        squares_14=squares_14 / (rate * rate),
        older_days=older_days,
        older_use=older_use / rate,
        older_squares=np.maximum(history.long_squares - squares, 0.0) / (rate * rate),
    )


def _used_days(days: _DailyUsage) -> tuple[Float64, Float64, Float64]:
    """(n,) number of the last 7, 14 and 56 days with demand."""
    np.greater(days.use, _USED_DAY_MIN, out=days.scratch, casting="unsafe")
    used_7 = np.add.reduce(days.scratch[:7], axis=0)
    used_14 = used_7 + np.add.reduce(days.scratch[7:14], axis=0)
    return used_7, used_14, used_14 + np.add.reduce(days.scratch[14:], axis=0)


def _usage_variation(
    days: _DailyUsage, used_day_share: Float64, noise_of_day: Float64
) -> tuple[Float64, Float64, Float64]:
    """The weekday pattern (7, n), its variance (n,), and the variance of single days around it, over the squared mean (n,).

    used_day_share: (n,) share of days with demand, which sets a lower limit of the variance; noise_of_day: (n,) of the level, in days.
    """
    known_days = days.counts[5] + days.older_days
    variation = (days.squares + days.older_squares + 3.9) / (known_days + 3.0) - 1.0
    week, between = _weekday_pattern(days, variation)
    noise_variance = 2.0 * np.minimum(noise_of_day * noise_of_day, 0.35 * np.maximum(variation, 0.0))
    variation = np.maximum(variation - between - noise_variance, (1.0 - used_day_share) / used_day_share - 0.1)
    return week, between, np.clip(variation, 0.005, 100.0)


_memory = threading.local()


def _scratch(rows: int) -> Float64:
    """(3, HISTORY_DAYS, rows) reused memory of this thread: fresh pages from the system would take half of the total time."""
    buffer: Float64 | None = getattr(_memory, "buffer", None)
    if buffer is None:
        buffer = _memory.buffer = np.empty(3 * HISTORY_DAYS * _ROWS_MAX)
    return buffer[: 3 * HISTORY_DAYS * rows].reshape(3, HISTORY_DAYS, rows)


def _window_sums(columns: Float64) -> Float64:
    """(6, n) sums over the nested windows of (HISTORY_DAYS, n) columns."""
    sums = np.empty((len(WINDOWS), columns.shape[1]))
    start = 0
    for window, end in enumerate(WINDOWS):
        np.add.reduce(columns[start:end], axis=0, out=sums[window])
        if window:
            sums[window] += sums[window - 1]
        start = end
    return sums


def _relative_mean(sums: Float64, counts: Float64, weight: float) -> Float64:
    """The mean relative to the rate, shrunk towards 1 by a weight of `weight` days; at least 0.02."""
    return np.asarray(np.maximum((sums + weight) / (counts + weight), 0.02))


def _lag_one_autocorrelation(days: _DailyUsage) -> Float64:
    """(n,) autocorrelation of daily demand at a lag of one day."""
    use, work = days.use, days.scratch
    count = np.maximum(days.counts[5], 1.0)
    mean = days.sums[5] / count
    variance = np.maximum(days.squares / count - mean * mean, 0.0) + 1e-4
    pairs: Float64 | float = float(HISTORY_DAYS - 1)
    if not days.complete:
        np.multiply(days.known_mask[1:], days.known_mask[:-1], out=work[1:])
        pairs = np.maximum(np.add.reduce(work[1:], axis=0), 1.0)
    np.multiply(use[1:], use[:-1], out=work[1:])
    together = np.add.reduce(work[1:], axis=0)
    return np.asarray(np.clip((together / pairs - mean * mean) / variance, -1.0, 1.0))


def _weekday_pattern(days: _DailyUsage, variation: Float64) -> tuple[Float64, Float64]:
    """(7, n) demand of today's weekday, tomorrow's and so on, relative to a mean of 1, and (n,) their variance.

    Shrunk towards 1 by the share of the differences that chance explains (James and Stein, 1961).
    """
    by_week = (_WEEKS, 7, days.use.shape[1])
    used, known = (np.add.reduce(part.reshape(by_week), axis=0) for part in (days.use, days.known_mask))
    overall = np.maximum(days.sums[5] / np.maximum(days.counts[5], 1.0), 0.05)
    off = ((used / overall + 1.0) / (known + 1.0))[::-1] - 1.0
    between = np.add.reduce(off * off, axis=0) / 7.0
    by_chance = 1.3 * np.maximum(variation - between, 0.0) / (0.14 * days.counts[5] + 1.0)
    shrinkage = np.maximum(1.0 - by_chance / np.maximum(between, 1e-9), 0.0)
    off *= shrinkage
    week = np.maximum(1.0 + off, 0.02)
    week *= 7.0 / np.add.reduce(week, axis=0)
    return week, between * shrinkage


def _weekday_adjusted_days(scale: Float64, week: Float64, elapsed: Float64) -> Float64:
    """(n,) days until `scale` mean days' demand is used up, by the weekday pattern and with the rest of today."""
    weeks = np.floor(scale / 7.0)
    left = scale - 7.0 * weeks
    days = 7.0 * weeks
    for day in range(8):
        lasts = 1.0 - elapsed if day == 0 else elapsed if day == 7 else 1.0
        use = week[day % 7]
        taken = np.minimum(left, use * lasts)
        days += taken / use
        left = left - taken
    return days


def _weekly_variance(days: _DailyUsage) -> Float64:
    """(n,) variance of weekly means: slow changes and absences, which single days do not show."""
    by_week = (_WEEKS, 7, days.use.shape[1])
    overall = days.sums[5] / np.maximum(days.counts[5], 1.0)
    used, known = (np.add.reduce(part.reshape(by_week), axis=1) for part in (days.use, days.known_mask))
    off = (used + overall) / (known + 1.0) - overall
    off *= off
    return np.asarray(np.add.reduce(off, axis=0) / _WEEKS)
