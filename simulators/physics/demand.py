"""Daily demand of households, by kind of pattern, vectorised over households.

Each process gives (homes, days) of daily demand with a mean near 1, to be scaled by the caller. The patterns cover what a forecast must
handle; they are not fitted to a data set. Demand within a day is in simulators/physics/draws.py.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simulators.physics.weather import YEAR_DAYS, ar1_process, daily_temperature_c

Float64 = NDArray[np.float64]


class DemandKind(StrEnum):
    """Kinds of demand."""

    STEADY = "steady"
    WEEKLY = "weekly"
    YEARLY = "yearly"
    HEATING = "heating"
    TRENDING = "trending"
    SHIFTING = "shifting"
    VACATIONS = "vacations"
    INTERMITTENT = "intermittent"
    LUMPY = "lumpy"
    EVENTS = "events"


HEATING_BASE_C = 15.5
"""Daily mean temperature in °C below which homes heat, give or take one degree: the base of British heating degree days."""


def weekday_of(day: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Weekday of days since the epoch, Monday 0. (1970-01-01 was a Thursday.)"""
    return np.asarray((np.asarray(day) + 3) % 7, dtype=np.int64)


def daily_use(
    kind: DemandKind,
    rng: np.random.Generator,
    homes: int,
    days: int,
    first_day: int,
    temperature_c: Float64 | None = None,
) -> Float64:
    """(homes, days) daily demand, never negative, mean near 1.

    first_day: days since the epoch. temperature_c: (homes, days), for heating; drawn if not given.
    """
    if kind is DemandKind.HEATING:
        if temperature_c is None:
            temperature_c = daily_temperature_c(rng, homes, days, first_day)
        return _heating(rng, homes, days, temperature_c)
    return _PROCESSES[kind](rng, homes, days, first_day)


def _noise(rng: np.random.Generator, homes: int, days: int, low: float = 0.08, high: float = 0.8) -> Float64:
    """(homes, days) factors with mean 1: independent days, and in half of the homes a slow autoregressive drift as well."""
    variation = np.exp(rng.uniform(np.log(low), np.log(high), (homes, 1)))
    shape = 1.0 / variation**2
    independent = rng.gamma(shape, 1.0 / shape, (homes, days))
    spread = np.where(rng.random((homes, 1)) < 0.5, rng.uniform(0.05, 0.35, (homes, 1)), 0.0)
    return np.asarray(independent * np.exp(spread * ar1_process(rng, homes, days, 1.0, 0.95) - spread**2 / 2.0))


def _week(rng: np.random.Generator, homes: int, days: int, first_day: int, strength: float) -> Float64:
    """(homes, days) factors by weekday with mean 1 over a week; a tenth of the homes have no demand at weekends."""
    factors = np.exp(rng.normal(0.0, strength, (homes, 7)))
    factors[:, 5:] *= np.exp(rng.normal(0.2, 2.0 * strength, (homes, 1)))
    factors[rng.random(homes) < 0.1, 5:] = 0.0
    factors /= factors.mean(axis=1, keepdims=True)
    return np.asarray(factors[:, weekday_of(first_day + np.arange(days))])


def _steady(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    return _noise(rng, homes, days)


def _weekly(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    return _week(rng, homes, days, first_day, 0.35) * _noise(rng, homes, days, high=0.5)


def _yearly(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    swing = rng.uniform(0.2, 0.9, (homes, 1))
    peak = rng.uniform(0.0, YEAR_DAYS, (homes, 1))
    season = 1.0 + swing * np.cos(2.0 * np.pi * (first_day + np.arange(days) - peak) / YEAR_DAYS)
    return season * _noise(rng, homes, days, high=0.5)


def _heating(rng: np.random.Generator, homes: int, days: int, temperature_c: Float64) -> Float64:
    degrees = np.maximum(HEATING_BASE_C + rng.normal(0.0, 1.0, (homes, 1)) - temperature_c, 0.0)
    hot_water = rng.uniform(0.2, 1.2, (homes, 1))
    use = (degrees + hot_water) / 5.5
    return np.asarray(use * _noise(rng, homes, days, high=0.3))


def _trending(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    per_year = rng.uniform(0.3, 1.5, (homes, 1)) * rng.choice([-1.0, 1.0], (homes, 1))
    middle = rng.uniform(0.0, days, (homes, 1))
    course = np.exp(1.1 * np.tanh(per_year * (np.arange(days) - middle) / YEAR_DAYS / 1.1))
    return np.asarray(course * _noise(rng, homes, days, high=0.6))


def _shifting(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    shifts = rng.random((homes, days)) < 1.0 / 110.0
    regime = np.cumsum(shifts, axis=1, dtype=np.int64)
    levels = np.exp(rng.normal(-0.15, 0.55, (homes, int(regime.max()) + 1)))
    return np.take_along_axis(levels, regime, axis=1) * _noise(rng, homes, days, high=0.5)


def _vacations(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    away = np.zeros((homes, days), dtype=bool)
    for home in range(homes):
        for start in np.flatnonzero(rng.random(days) < 3.5 / YEAR_DAYS):
            away[home, start : start + int(rng.integers(3, 22))] = True
    left_on = rng.uniform(0.0, 0.1, (homes, 1)) * (rng.random((homes, 1)) < 0.5)
    use = _week(rng, homes, days, first_day, 0.2) * _noise(rng, homes, days, high=0.6)
    return np.where(away, left_on, 1.1) * use


def _intermittent(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    chance = np.exp(rng.uniform(np.log(0.06), np.log(0.5), (homes, 1)))
    shape = rng.uniform(2.0, 20.0, (homes, 1))
    return (rng.random((homes, days)) < chance) * rng.gamma(shape, 1.0 / shape, (homes, days)) / chance


def _lumpy(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    chance = np.exp(rng.uniform(np.log(0.04), np.log(0.3), (homes, 1)))
    spread = rng.uniform(0.5, 1.1, (homes, 1))
    sizes = np.exp(spread * rng.normal(0.0, 1.0, (homes, days)) - spread**2 / 2.0)
    return (rng.random((homes, days)) < chance) * sizes / chance


def _events(rng: np.random.Generator, homes: int, days: int, first_day: int) -> Float64:
    mean = np.exp(rng.uniform(np.log(0.25), np.log(5.0), (homes, 1)))
    lively = mean * _week(rng, homes, days, first_day, 0.25) * rng.gamma(8.0, 1.0 / 8.0, (homes, days))
    sizes = rng.gamma(60.0, 1.0 / 60.0, (homes, days))
    return rng.poisson(lively) * sizes / mean


_PROCESSES: dict[DemandKind, Callable[[np.random.Generator, int, int, int], Float64]] = {
    DemandKind.STEADY: _steady,
    DemandKind.WEEKLY: _weekly,
    DemandKind.YEARLY: _yearly,
    DemandKind.TRENDING: _trending,
    DemandKind.SHIFTING: _shifting,
    DemandKind.VACATIONS: _vacations,
    DemandKind.INTERMITTENT: _intermittent,
    DemandKind.LUMPY: _lumpy,
    DemandKind.EVENTS: _events,
}
