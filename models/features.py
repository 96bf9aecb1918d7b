"""The features of the run-out model: one function, for training and for serving.

Everything is relative to the item's own rate and level, so multiplying all quantities by a constant changes nothing. A row's
features depend on that row only, bit for bit, whatever the other rows: sums run over the leading axis of (days, items)
arrays, in the order of days, and never through BLAS, whose order of summation depends on the shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from star.analyse import DAYS_MAX

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

DAYS = 56
"""Days of history that the model sees: eight whole weeks."""
WINDOWS = (1, 3, 7, 14, 28, 56)
"""Ends of the nested windows, in days back from the newest complete day."""
FEATURES = (
    "scale",
    "known_56",
    "known_7",
    *(f"mean_{window}" for window in WINDOWS),
    "variation_56",
    "variation_14",
    "used_days_56",
    "used_days_14",
    "used_days_7",
    "lumpiness",
    "largest_day",
    "repeats_1",
    "repeats_7",
    *(f"ahead_{day}" for day in range(7)),
    "today_surplus",
    "today_fraction",
    "prior",
    "prior_spread",
    "noise_of_level",
    "level_believed",
    "noise_of_day",
    "weekday_sin",
    "weekday_cos",
    "older_month",
    "weekly_variation",
)
"""Names of the columns, in order."""
FEATURES_COUNT = len(FEATURES)

_ROWS_MIN = 8  # numpy sums an axis in another order when the other one has length 1, so few rows are padded to these
_NORMAL_90 = 1.2815515655446004  # the 90 % quantile of the standard normal distribution
_TINY = 1e-12


def run_out_features(
    daily: Float32,
    today: Float32,
    today_fraction: Float32,
    level: Float64,
    prior_rate: Float64,
    prior_spread: Float64,
    noise: Float64,
    weekday: Int64,
) -> tuple[Float32, Float64]:
    """(n, FEATURES_COUNT) features, and (n,) days that `level` lasts at the item's own mean rate.

    daily: (n, DAYS) use a day, newest complete UTC day first, NaN where unknown. today: (n,) use so far today, NaN where
    unknown. today_fraction: (n,) of the UTC day elapsed, 0 to 1. level: (n,) estimated, may be negative. prior_rate: (n,) use
    a day of the median customer, above 0; prior_spread: (n,) the 90 % quantile over that median, above 1. noise: (n,)
    standard deviation of the level's estimate. weekday: (n,) of today, Monday 0. All quantities of a row in one unit.
    """
    rows = int(daily.shape[0])
    if rows < _ROWS_MIN:
        short = (daily, today, today_fraction, level, prior_rate, prior_spread, noise, weekday)
        padded = (np.concatenate([column, np.repeat(column[-1:], _ROWS_MIN - rows, axis=0)]) for column in short)
        if rows == 0:
            return np.empty((0, FEATURES_COUNT), dtype=np.float32), np.empty(0)
        features, scale_days = run_out_features(*padded)
        return features[:rows], scale_days[:rows]

    use = np.ascontiguousarray(daily.T, dtype=np.float64)  # (DAYS, n)
    known = use == use
    use[~known] = 0.0
    seen = known.astype(np.float64)
    sums, counts = _windows(use), _windows(seen)
    today_known = today == today
    today_use = np.where(today_known, today, 0.0).astype(np.float64)
    elapsed = np.where(today_known, today_fraction, 0.0).astype(np.float64)

    rate = _rate(sums, counts, today_use, elapsed, prior_rate, prior_spread)
    believed = np.maximum(np.maximum(level, 0.5 * noise), 0.02 * rate)
    scale_days = believed / rate

    use /= rate
    sums /= rate
    out = np.empty((FEATURES_COUNT, rows))
    out[0] = np.log(scale_days)
    out[1] = counts[5] / DAYS
    out[2] = counts[2] / 7.0
    out[3:9] = _log_mean(sums, counts, 1.0)
    _variation(out, use, seen, sums, counts)
    ahead = _ahead(use, seen)
    out[18:25] = ahead
    out[25] = today_use / rate - elapsed * np.exp(ahead[0])
    out[26] = elapsed
    out[27] = np.log(prior_rate / rate)
    out[28] = np.log(prior_spread)
    out[29] = np.log1p(10.0 * noise / believed)
    out[30] = level / believed
    out[31] = np.log1p(noise / rate)
    angle = 2.0 * np.pi / 7.0 * weekday
    out[32] = np.sin(angle)
    out[33] = np.cos(angle)
    out[34] = _log_mean(sums[5] - sums[4], counts[5] - counts[4], 2.0)
    out[35] = _weekly_variation(use, seen, sums, counts)
    np.clip(out, -8.0, 8.0, out=out)
    return np.ascontiguousarray(out.T, dtype=np.float32), scale_days


def days_to_empty(out: Float32, scale_days: Float64) -> Float64:
    """(n, 9) days to empty at star.analyse.QUANTILES, 0 to DAYS_MAX, from the model's (n, 9) output."""
    days: Float64 = scale_days[:, None] * np.exp(np.minimum(out.astype(np.float64), 20.0))
    return np.clip(days, 0.0, DAYS_MAX)


def _windows(columns: Float64) -> Float64:
    """(6, n) sums over the nested windows of (DAYS, n) columns."""
    sums = np.empty((len(WINDOWS), columns.shape[1]))
    start = 0
    for place, end in enumerate(WINDOWS):
        np.add.reduce(columns[start:end], axis=0, out=sums[place])
        if place:
            sums[place] += sums[place - 1]
        start = end
    return sums


def _rate(
    sums: Float64, counts: Float64, today: Float64, elapsed: Float64, prior_rate: Float64, prior_spread: Float64
) -> Float64:
    """(n,) mean use a day: four weeks, half of the four before, today, and the prior as a few days' worth of evidence."""
    spread = np.log(np.maximum(prior_spread, 1.05)) / _NORMAL_90
    prior_days = np.clip(1.0 / (spread * spread), 0.5, 8.0)
    used = 0.5 * (sums[4] + sums[5]) + today
    days = 0.5 * (counts[4] + counts[5]) + elapsed
    believed = prior_days * prior_rate
    return np.asarray(np.maximum(believed + used, 0.5 * believed) / (prior_days + days))


def _log_mean(sums: Float64, counts: Float64, weight: float) -> Float64:
    """Log of the mean relative to the rate, drawn to 0 by `weight` days."""
    logs: Float64 = np.log(np.maximum((sums + weight) / (counts + weight), 0.02))
    return logs


def _variation(out: Float64, use: Float64, seen: Float64, sums: Float64, counts: Float64) -> None:
    """Columns 9 to 17: how much days differ, how many have use at all, how lumpy it is, and whether it repeats itself."""
    squares = use * use
    recent = np.add.reduce(squares[:14], axis=0)
    total = recent + np.add.reduce(squares[14:], axis=0)
    days = np.maximum(counts[5], 1.0)
    mean = sums[5] / days
    variance = np.maximum(total / days - mean * mean, 0.0)
    days_14 = np.maximum(counts[3], 1.0)
    mean_14 = sums[3] / days_14
    out[9] = np.log1p(np.sqrt(variance))
    out[10] = np.log1p(np.sqrt(np.maximum(recent / days_14 - mean_14 * mean_14, 0.0)))
    used = (use > 0.05).astype(np.float64)
    used_7 = np.add.reduce(used[:7], axis=0)
    used_14 = used_7 + np.add.reduce(used[7:14], axis=0)
    used_56 = used_14 + np.add.reduce(used[14:], axis=0)
    out[11] = (used_56 + 0.5) / (counts[5] + 1.0)
    out[12] = (used_14 + 0.5) / (counts[3] + 1.0)
    out[13] = (used_7 + 0.5) / (counts[2] + 1.0)
    out[14] = np.log((total * used_56 + 1.0) / (sums[5] * sums[5] + 1.0))
    out[15] = np.log1p(np.maximum.reduce(use, axis=0))
    spread = variance + _TINY + 1e-4
    for column, lag in ((16, 1), (17, 7)):
        pairs = np.maximum(np.add.reduce(seen[lag:] * seen[:-lag], axis=0), 1.0)
        out[column] = np.clip((np.add.reduce(use[lag:] * use[:-lag], axis=0) / pairs - mean * mean) / spread, -1.0, 1.0)


def _ahead(use: Float64, seen: Float64) -> Float64:
    """(7, n) log mean use of today's weekday, tomorrow's and so on, relative to the rate, drawn to 0 by two days."""
    rows = use.shape[1]
    sums = np.add.reduce(use.reshape(DAYS // 7, 7, rows), axis=0)
    counts = np.add.reduce(seen.reshape(DAYS // 7, 7, rows), axis=0)
    return np.asarray(_log_mean(sums, counts, 2.0)[::-1])


def _weekly_variation(use: Float64, seen: Float64, sums: Float64, counts: Float64) -> Float64:
    """(n,) how much weeks differ in their means: slow changes and absences, which single days do not show."""
    weeks = DAYS // 7
    means = np.empty((weeks, use.shape[1]))
    overall = sums[5] / np.maximum(counts[5], 1.0)
    for week in range(weeks):
        days = slice(7 * week, 7 * week + 7)
        used, known = np.add.reduce(use[days], axis=0), np.add.reduce(seen[days], axis=0)
        means[week] = (used + overall) / (known + 1.0) - overall
    variation: Float64 = np.log1p(np.sqrt(np.add.reduce(means * means, axis=0) / weeks))
    return variation
