"""The lives of one family: items with their costs, what each uses hour by hour, who is away, what suppliers draw.

Everything that chance decides is drawn here from the seed, before any policy acts: so every policy meets the same use and the
same lead times (of an item's first order, its second, …). Items of several seeds stand side by side in the same arrays; a seed's
items have suppliers of their own.
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
"""Items of a seed."""
EPOCH_DAY_2026 = 20_454
"""2026-01-01, in days since the epoch; each seed begins within the year after it."""
ORDER_COST = 0.25
AWAY_SHARE = 0.03
"""Of the ordinary use, in a vacation."""
FIRST_SEEDS = {"dev": 1_000, "test": 900_000}
"""Seeds for building begin at the one, held-out seeds at the other. Nothing is ever tuned on the second."""


class RandomStreams:
    """Random streams by name, one for each seed; what one stream draws does not move another."""

    def __init__(self, family: str, seeds: Sequence[int]) -> None:
        self._family = zlib.crc32(family.encode())
        self._seeds = tuple(seeds)

    def draw(self, stream: str, make: Callable[[np.random.Generator], NDArray[Any]]) -> NDArray[Any]:
        """What `make` draws for each seed, one after the other along the first axis."""
        name = zlib.crc32(stream.encode())
        return np.concatenate([make(np.random.default_rng([seed, self._family, name])) for seed in self._seeds])


class TraceSource(Protocol):
    """Real traces (traces.Pool)."""

    def start(self, rng: np.random.Generator, days: int) -> int:
        """The first of so many days."""
        ...

    def windows(self, rng: np.random.Generator, items: int, first_day: int, days: int) -> Float64:
        """(items, days) of use."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioBatch:
    """n items. Amounts in the item's unit, money, hours from the start of the life.

    first_day: days since the epoch, one for all seeds, as they share one run. seed: (n,) which seed's item, counted from 0;
    customer: (n,) whose. use: (n, hours) what is wanted in each hour, beyond the last day lived; used: (n, hours + 1) its
    running sum. temperature_c: (n, days). vacations: by item, first and last day of each. elsewhere: (n, hours) quantity bought
    elsewhere, and elsewhere_told whether it is said. prices: (seeds, sellers, days) of a pack. budget: (n,) a month's.
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
        """Hours lived; `use` goes on beyond."""
        return self.family.days * 24

    def start_s(self) -> int:
        """The start of the life, epoch seconds."""
        return self.first_day * 86_400

    def empty_hour(self, rows: Int64, hour: int, level: Float64) -> Float64:
        """(rows,) hours from the start at which `level` at `hour` will be used up; inf beyond what is known."""
        out = np.full(len(rows), np.inf)
        for place, row in enumerate(rows):
            used = self.cumulative_use[row]
            target = used[hour] + level[place]
            found = int(used.searchsorted(target, side="left"))
            if found < len(used):
                before = used[found - 1] if found else 0.0
                step = used[found] - before
                out[place] = max(found - 1 + ((target - before) / step if step > 0.0 else 1.0), hour)
        return out


def draw_scenarios(
    family: ScenarioFamily,
    seeds: Sequence[int],
    items: int = ITEMS_PER_SEED,
    days: int | None = None,
    trace_source: TraceSource | None = None,
) -> ScenarioBatch:
    """Draws the items of the family, `items` for each seed. days: fewer than the family's, for tests; real: its traces."""
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
    bought, told = _external_refills(family, chance, items, pack)
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
        external_refills=bought,
        external_refill_declared=told,
        supply_draws=draw_supplies(family.supply, chance, items),
        prices=prices,
        budget=np.full(count, np.inf) if family.limits.budget is None else _monthly_budget(family, spent),
    )


def _monthly_budget(family: ScenarioFamily, spent: Float64) -> Float64:
    """A month's budget pays for two packs at least, as one alone could not be ordered twice in any month."""
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
    real: TraceSource | None,
) -> Float64:
    """(n, hours): a day's use spread by the hours at which people are about; rare use falls into one hour of its day."""
    days = temperature.shape[1]
    place = iter(range(0, len(rate), items))

    def daily_of(rng: np.random.Generator) -> Float64:
        if real is not None:
            return real.windows(rng, items, first_day, days)
        start = next(place)
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
    """First and last day of each item's vacations; they don't touch each other, and none is in the first month."""
    if not family.vacations_per_year:
        return ((),) * len(chance.draw("vacations", lambda rng: np.zeros(items)))
    starts = chance.draw("vacations", lambda rng: rng.random((items, days)) < family.vacations_per_year / 365.0)
    lengths = chance.draw("vacation-days", lambda rng: rng.integers(6, 22, (items, days)))
    found = []
    for row in range(len(starts)):
        spans: list[tuple[int, int]] = []
        for day in np.flatnonzero(starts[row]):
            if day >= 30 and (not spans or day > spans[-1][1] + 14):
                spans.append((int(day), int(day + lengths[row, day] - 1)))
        found.append(tuple(spans))
    return tuple(found)


def _external_refills(
    family: ScenarioFamily, chance: RandomStreams, items: int, pack: Float64
) -> tuple[Float64, Bools]:
    hours = family.days * 24
    share = family.external_refills_per_year / (365.0 * 24.0)
    happens = chance.draw("elsewhere", lambda rng: rng.random((items, hours)) < share)
    size = chance.draw("elsewhere-size", lambda rng: rng.uniform(0.3, 1.0, (items, hours)))
    told = chance.draw("elsewhere-told", lambda rng: rng.random((items, hours)) < family.external_refill_declared_share)
    return np.where(happens, size * pack[:, None], 0.0), told
