"""Scenarios drawn from a family: items with their costs, hourly consumption, absences, purchases elsewhere and supply.

All randomness is drawn from the seed before any policy acts, so every policy meets the same consumption and the same lead times (of
an item's first order, its second, …): common random numbers. Items of several seeds are rows of the same arrays; each seed has
suppliers of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.worlds.scenario_families import ScenarioFamily, Sensing
from evaluation.worlds.supply_draws import SupplyDraws, draw_prices, draw_supplies
from simulators.physics.demand import DemandKind, daily_use
from simulators.physics.draws import PEOPLE_HOURS
from simulators.physics.weather import daily_temperature_c

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

ITEMS_PER_SEED = 20
"""Items drawn for each seed."""
EPOCH_DAY_2026 = 20_454
"""2026-01-01 in days since the epoch; scenarios start within the year after it."""
ORDER_COST = 0.25
"""Cost of placing an order, in money; small against a run-out (10 to 60), so that orders are not bundled for its sake."""
AWAY_SHARE = 0.03
"""Consumption during an absence, as a share of the usual: what stays switched on."""
FIRST_SEEDS = {"dev": 1_000, "test": 900_000}
"""First development seed and first held-out seed. Nothing is tuned on held-out seeds."""


class RandomStreams:
    """Independent random streams by name, for each seed: the number of draws of one does not affect another."""

    def __init__(self, family: str, seeds: Sequence[int]) -> None:
        self._family = zlib.crc32(family.encode())
        self._seeds = tuple(seeds)

    def draw(self, stream: str, make: Callable[[np.random.Generator], NDArray[Any]]) -> NDArray[Any]:
        """The arrays that `make` draws for each seed, concatenated along the first axis."""
        name = zlib.crc32(stream.encode())
        return np.concatenate([make(np.random.default_rng([seed, self._family, name])) for seed in self._seeds])


class TraceSource(Protocol):
    """A source of real demand (consumption_traces.TracePool)."""

    def start(self, rng: np.random.Generator, days: int) -> int:
        """A first day, since the epoch, from which the source has `days` days."""
        ...

    def windows(self, rng: np.random.Generator, items: int, first_day: int, days: int) -> Float64:
        """(items, days) consumption from `first_day` on, mean near 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioBatch:
    """n items. Amounts are in the item's unit, times in hours from the start of the simulation.

    first_day: days since the epoch, common to all seeds, as they share one run. stores_spares: whether packs are stored unopened beside
    the capacity. *_cost: money. seed_index, customer: (n,) counted from 0. hourly_use: (n, hours) demand, beyond the last simulated day;
    cumulative_use: (n, hours + 1) its running sum. temperature_c: (n, days). vacations: by item, first and last day of each absence.
    external_refills: (n, hours) quantities bought elsewhere; external_refill_declared: whether each is reported. prices: (seeds,
    suppliers, days) of a pack. budget: (n,) monthly, inf where there is none.
    """

    family: ScenarioFamily
    seeds: tuple[int, ...]
    first_day: int
    capacity: Float64
    pack: Float64
    stores_spares: Bools
    stockout_cost: Float64
    stockout_cost_per_day: Float64
    holding_cost_per_day: Float64
    initial_level: Float64
    seed_index: Int64
    customer: Int64
    hourly_use: Float64
    cumulative_use: Float64
    temperature_c: Float64
    vacations: tuple[tuple[tuple[int, int], ...], ...]
    external_refills: Float64
    external_refill_declared: Bools
    supply_draws: SupplyDraws
    prices: Float64
    budget: Float64

    def __len__(self) -> int:
        return len(self.capacity)

    @property
    def hours(self) -> int:
        """Simulated hours; `hourly_use` continues beyond them."""
        return self.family.days * 24

    def start_s(self) -> int:
        """The start of the simulation, in seconds since the epoch."""
        return self.first_day * 86_400

    def empty_hour(self, rows: Int64, hour: int, level: Float64) -> Float64:
        """(rows,) hour, from the start, at which `level` at `hour` will be used up; inf beyond the drawn consumption."""
        out = np.full(len(rows), np.inf)
        for index, row in enumerate(rows):
            used = self.cumulative_use[row]
            target = used[hour] + level[index]
            end = int(used.searchsorted(target, side="left"))
            if end < len(used):
                before = used[end - 1] if end else 0.0
                step = used[end] - before
                out[index] = max(end - 1 + ((target - before) / step if step > 0.0 else 1.0), hour)
        return out


def draw_scenarios(
    family: ScenarioFamily,
    seeds: Sequence[int],
    items: int = ITEMS_PER_SEED,
    days: int | None = None,
    trace_source: TraceSource | None = None,
) -> ScenarioBatch:
    """Draws `items` items of the family for each seed. days: a shorter simulation, None: the family's own; trace_source: demand."""
    if days is not None:
        family = replace(family, days=min(days, family.days))
    chance = RandomStreams(family.name, seeds)
    first_day = int(chance.draw("start", lambda rng: rng.integers(0, 365, 1))[0]) + EPOCH_DAY_2026
    total_days = family.days + family.beyond_days
    if trace_source is not None:
        first_day = int(chance.draw("start", lambda rng: np.array([trace_source.start(rng, total_days)]))[0])
    count = items * len(seeds)
    capacity = np.exp(chance.draw("capacity", lambda rng: rng.uniform(np.log(5.0), np.log(2000.0), items)))
    if family.capacity is not None:
        capacity = np.full(count, family.capacity)
    spare = chance.draw("spare", lambda rng: rng.random(items) < 0.5)
    if family.sensor.sensing is not Sensing.LEVEL or family.capacity is not None:
        spare = np.ones(count, dtype=bool)
    pack = np.where(spare, capacity, 0.5 * capacity)
    pack_days = chance.draw("pack-days", lambda rng: rng.uniform(*family.pack_days, items))
    stockout = np.round(np.exp(chance.draw("stockout", lambda rng: rng.uniform(np.log(10.0), np.log(60.0), items))), 2)
    temperature = chance.draw("weather", lambda rng: daily_temperature_c(rng, items, total_days, first_day))
    vacations = _vacations(family, chance, items, total_days)
    use = _hourly_use(family, chance, items, (pack / pack_days), first_day, temperature, vacations, trace_source)
    level = np.round(capacity * chance.draw("level", lambda rng: rng.uniform(*family.initial_level, items)), 3)
    refills, declared = _external_refills(family, chance, items, pack)
    prices = draw_prices(family.supply, chance, total_days)
    seed = np.repeat(np.arange(len(seeds)), items)
    per = family.limits.items_per_customer
    spent = 30.4 / pack_days * family.supply.suppliers[0].price
    return ScenarioBatch(
        family=family,
        seeds=tuple(seeds),
        first_day=first_day,
        capacity=capacity,
        pack=pack,
        stores_spares=spare,
        stockout_cost=stockout,
        stockout_cost_per_day=stockout / 10.0,
        holding_cost_per_day=stockout / 500.0,
        initial_level=capacity.copy() if family.sensor.sensing is not Sensing.LEVEL else level,
        seed_index=seed,
        customer=np.arange(count) // per,
        hourly_use=use,
        cumulative_use=np.concatenate([np.zeros((count, 1)), np.cumsum(use, axis=1)], axis=1),
        temperature_c=temperature,
        vacations=vacations,
        external_refills=refills,
        external_refill_declared=declared,
        supply_draws=draw_supplies(family.supply, chance, items),
        prices=prices,
        budget=np.full(count, np.inf) if family.limits.budget is None else _monthly_budget(family, spent),
    )


def _monthly_budget(family: ScenarioFamily, spent: Float64) -> Float64:
    """(n,) budgets, each enough for two packs, as two orders may fall into one month. spent: (n,) expected monthly spending."""
    assert family.limits.budget is not None
    least = 2.0 * family.supply.suppliers[0].price * 1.2
    return np.asarray(np.maximum(np.round(family.limits.budget * spent, 2), least))


def _hourly_use(
    family: ScenarioFamily,
    chance: RandomStreams,
    items: int,
    rate: Float64,
    first_day: int,
    temperature: Float64,
    vacations: Sequence[Sequence[tuple[int, int]]],
    trace_source: TraceSource | None,
) -> Float64:
    """(n, hours) demand: daily demand spread over the hours of human activity; rare demand falls into one hour of its day."""
    days = temperature.shape[1]
    starts = iter(range(0, len(rate), items))

    def daily_of(rng: np.random.Generator) -> Float64:
        if trace_source is not None:
            return trace_source.windows(rng, items, first_day, days)
        start = next(starts)
        return daily_use(family.demand, rng, items, days, first_day, temperature[start : start + items])

    daily = chance.draw("use", daily_of) * rate[:, None]
    for row, spans in enumerate(vacations):
        for first, last in spans:
            daily[row, first : last + 1] *= AWAY_SHARE
    hours = PEOPLE_HOURS / PEOPLE_HOURS.sum()
    if family.demand in (DemandKind.INTERMITTENT, DemandKind.LUMPY):
        share = chance.draw("hours", lambda rng: np.eye(24)[rng.choice(24, (items, days), p=hours)])
    else:
        share = hours * chance.draw("hours", lambda rng: rng.gamma(4.0, 0.25, (items, days, 24)))
        share /= share.sum(axis=2, keepdims=True)
    return np.asarray((daily[:, :, None] * share).reshape(len(rate), -1))


def _vacations(
    family: ScenarioFamily, chance: RandomStreams, items: int, days: int
) -> tuple[tuple[tuple[int, int], ...], ...]:
    """First and last day of each item's absences, at least two weeks apart, none in the first month."""
    if not family.vacations_per_year:
        return ((),) * len(chance.draw("vacations", lambda rng: np.zeros(items)))
    starts = chance.draw("vacations", lambda rng: rng.random((items, days)) < family.vacations_per_year / 365.0)
    lengths = chance.draw("vacation-days", lambda rng: rng.integers(6, 22, (items, days)))
    vacations = []
    for row in range(len(starts)):
        spans: list[tuple[int, int]] = []
        for day in np.flatnonzero(starts[row]):
            if day >= 30 and (not spans or day > spans[-1][1] + 14):
                spans.append((int(day), int(day + lengths[row, day] - 1)))
        vacations.append(tuple(spans))
    return tuple(vacations)


def _external_refills(
    family: ScenarioFamily, chance: RandomStreams, items: int, pack: Float64
) -> tuple[Float64, Bools]:
    hours = family.days * 24
    share = family.external_refills_per_year / (365.0 * 24.0)
    happens = chance.draw("elsewhere", lambda rng: rng.random((items, hours)) < share)
    size = chance.draw("elsewhere-size", lambda rng: rng.uniform(0.3, 1.0, (items, hours)))
    declared = chance.draw(
        "elsewhere-told", lambda rng: rng.random((items, hours)) < family.external_refill_declared_share
    )
    return np.where(happens, size * pack[:, None], 0.0), declared
