"""The features of the run-out model: one function, for training and for serving.

Everything is relative to the item's own rate and level, so multiplying all quantities by a constant changes nothing. A row's
features depend on that row only, bit for bit, whatever the other rows: sums run over the leading axis of (days, items)
arrays, in the order of days, and never through BLAS, whose order of summation depends on the shape.
"""

from __future__ import annotations

import threading
from typing import TypeVar

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

_ROWS_MAX = 2048  # more rows are taken in parts, so that the scratch memory of a thread stays small and near
_ROWS_MIN = 8  # numpy sums an axis in another order when the other one has length 1, so few rows are padded to these
_NORMAL_90 = 1.2815515655446004  # the 90 % quantile of the standard normal distribution
_LOGARITHMS = (slice(0, 1), slice(3, 11), slice(14, 16), slice(18, 25), slice(27, 29), slice(34, 35))
"""Columns that are taken as logarithms, all at once."""


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
    features, scale_days = np.empty((rows, FEATURES_COUNT), dtype=np.float32), np.empty(rows)
    for start in range(0, rows, _ROWS_MAX):
        found, scales = _features(
            _part(daily, start),
            _part(today, start),
            _part(today_fraction, start),
            _part(level, start),
            _part(prior_rate, start),
            _part(prior_spread, start),
            _part(noise, start),
            _part(weekday, start),
        )
        count = min(_ROWS_MAX, rows - start)
        features[start : start + count], scale_days[start : start + count] = found.T[:count], scales[:count]
    return features, scale_days


_Kind = TypeVar("_Kind", bound=np.generic)


def _part(column: NDArray[_Kind], start: int) -> NDArray[_Kind]:
    """The rows from `start` on, at most _ROWS_MAX, the last one repeated where there are fewer than _ROWS_MIN."""
    part = column[start : start + _ROWS_MAX]
    missing = _ROWS_MIN - len(part)
    return part if missing <= 0 else np.concatenate([part, np.repeat(part[-1:], missing, axis=0)])


def _features(
    daily: Float32,
    today: Float32,
    today_fraction: Float32,
    level: Float64,
    prior_rate: Float64,
    prior_spread: Float64,
    noise: Float64,
    weekday: Int64,
) -> tuple[Float64, Float64]:
    """(FEATURES_COUNT, n) features and (n,) scale of at least _ROWS_MIN and at most _ROWS_MAX rows."""
    rows = int(daily.shape[0])
    use, seen, work = _scratch(rows)
    use[:] = daily.T
    known = use == use
    whole = bool(known.all())
    if not whole:
        use[~known] = 0.0
    seen[:] = known
    counts = _windows(seen)
    today_known = today == today
    today_use = np.where(today_known, today, 0.0).astype(np.float64)
    elapsed = np.where(today_known, today_fraction, 0.0).astype(np.float64)

    rate = _rate(_windows(use), counts, today_use, elapsed, prior_rate, prior_spread)
    believed = np.maximum(np.maximum(level, 0.5 * noise), 0.02 * rate)
    scale_days = believed / rate

    use /= rate
    sums = _windows(use)
    out = np.empty((FEATURES_COUNT, rows))
    out[0] = scale_days
    out[3:9] = _mean(sums, counts, 1.0)
    out[18:25] = _ahead(use, seen)
    out[27] = prior_rate / rate
    out[28] = prior_spread
    out[34] = _mean(sums[5] - sums[4], counts[5] - counts[4], 2.0)
    out[25] = today_use / rate - elapsed * out[18]
    _variation(out, use, None if whole else seen, work, sums, counts)
    for logs in _LOGARITHMS:
        np.log(out[logs], out=out[logs])
    out[1] = counts[5] / DAYS
    out[2] = counts[2] / 7.0
    out[26] = elapsed
    out[29] = np.log1p(10.0 * noise / believed)
    out[30] = level / believed
    out[31] = np.log1p(noise / rate)
    angle = 2.0 * np.pi / 7.0 * weekday
    out[32] = np.sin(angle)
    out[33] = np.cos(angle)
    out[35] = np.log1p(_weekly_variation(use, seen, sums, counts))
    np.clip(out, -8.0, 8.0, out=out)
    return out, scale_days


_memory = threading.local()


def _scratch(rows: int) -> Float64:
    """(3, DAYS, rows) of memory to overwrite: asking the system for fresh pages each time would cost half of all."""
    buffer: Float64 | None = getattr(_memory, "buffer", None)
    if buffer is None:
        buffer = _memory.buffer = np.empty(3 * DAYS * _ROWS_MAX)
    return buffer[: 3 * DAYS * rows].reshape(3, DAYS, rows)


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


def _mean(sums: Float64, counts: Float64, weight: float) -> Float64:
    """The mean relative to the rate, drawn to 1 by `weight` days; at least 0.02."""
    return np.asarray(np.maximum((sums + weight) / (counts + weight), 0.02))


def _variation(out: Float64, use: Float64, seen: Float64 | None, work: Float64, sums: Float64, counts: Float64) -> None:
    """Columns 9 to 17: how much days differ, how many have use at all, how lumpy it is, and whether it repeats itself.

    seen: which days are known; None: all of them. work: memory to overwrite. Those that are logarithms are left to be taken.
    """
    np.multiply(use, use, out=work)
    recent = np.add.reduce(work[:14], axis=0)
    total = recent + np.add.reduce(work[14:], axis=0)
    days = np.maximum(counts[5], 1.0)
    mean = sums[5] / days
    variance = np.maximum(total / days - mean * mean, 0.0)
    days_14 = np.maximum(counts[3], 1.0)
    mean_14 = sums[3] / days_14
    out[9] = 1.0 + np.sqrt(variance)
    out[10] = 1.0 + np.sqrt(np.maximum(recent / days_14 - mean_14 * mean_14, 0.0))
    np.greater(use, 0.05, out=work, casting="unsafe")
    used_7 = np.add.reduce(work[:7], axis=0)
    used_14 = used_7 + np.add.reduce(work[7:14], axis=0)
    used_56 = used_14 + np.add.reduce(work[14:], axis=0)
    out[11] = (used_56 + 0.5) / (counts[5] + 1.0)
    out[12] = (used_14 + 0.5) / (counts[3] + 1.0)
    out[13] = (used_7 + 0.5) / (counts[2] + 1.0)
    out[14] = (total * used_56 + 1.0) / (sums[5] * sums[5] + 1.0)
    out[15] = 1.0 + np.maximum(np.maximum.reduce(use, axis=0), 0.0)
    spread = variance + 1e-4
    for column, lag in ((16, 1), (17, 7)):
        pairs: Float64 | float = float(DAYS - lag)
        if seen is not None:
            np.multiply(seen[lag:], seen[:-lag], out=work[lag:])
            pairs = np.maximum(np.add.reduce(work[lag:], axis=0), 1.0)
        np.multiply(use[lag:], use[:-lag], out=work[lag:])
        repeats = np.add.reduce(work[lag:], axis=0)
        out[column] = np.clip((repeats / pairs - mean * mean) / spread, -1.0, 1.0)


def _ahead(use: Float64, seen: Float64) -> Float64:
    """(7, n) mean use of today's weekday, tomorrow's and so on, relative to the rate, drawn to 1 by two days."""
    by_week = (DAYS // 7, 7, use.shape[1])
    sums = np.add.reduce(use.reshape(by_week), axis=0)
    counts = np.add.reduce(seen.reshape(by_week), axis=0)
    return np.asarray(_mean(sums, counts, 2.0)[::-1])


def _weekly_variation(use: Float64, seen: Float64, sums: Float64, counts: Float64) -> Float64:
    """(n,) how much weeks differ in their means: slow changes and absences, which single days do not show."""
    by_week = (DAYS // 7, 7, use.shape[1])
    overall = sums[5] / np.maximum(counts[5], 1.0)
    used, known = np.add.reduce(use.reshape(by_week), axis=1), np.add.reduce(seen.reshape(by_week), axis=1)
    off = (used + overall) / (known + 1.0) - overall
    off *= off
    return np.asarray(np.sqrt(np.add.reduce(off, axis=0) / (DAYS // 7)))
