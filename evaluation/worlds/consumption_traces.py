"""Real consumption as the demand of worlds: daily traces of public data sets, in groups that lived at the same time of year.

They are read from a folder of data sets (`--data`, STARLOOP_DATA) and are never part of the repository; what a folder lacks is
left out. Water and power (CC BY 4.0) may train models, and do: models/train/real_consumption.py says what is held out. The others are for
evaluation on the machines that have them. Months (spare parts), deliveries and purchases are no consumption, and are not read.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.worlds.scenario_families import ScenarioFamily, Sensing, SensorSpec, SupplierSpec, SupplySpec
from models.train.real_consumption import consumption_series, epoch_day, read_text, sum_by_day
from star.errors import UsageError

Float64 = NDArray[np.float64]

LIVED_DAYS_MAX = 365
HORIZON_PACKS = 2
"""Use is known beyond the last day lived for as long as so many packs last, so that forecasts can be judged to the end."""
WEEKS_DAYS = 364
"""About a year, and whole weeks: traces may be moved by it without a Monday becoming a Tuesday."""
_DAYS_MIN = 150
_TOP_PRODUCTS = 5
_RELEASED_SHARE = 0.03
"""Of the highest level: a larger fall in a day was let go, or mistyped, and not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Use by day, mean 1. first_day: since the epoch."""

    name: str
    first_day: int
    use: Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePool:
    """The traces of one group. `start` draws the first day of a world, `windows` what its items use from then on."""

    traces: tuple[Trace, ...]

    def days_known(self) -> int:
        """Days that every trace has."""
        return min(len(trace.use) for trace in self.traces)

    def start(self, rng: np.random.Generator, days: int) -> int:
        """A day from which on the shortest trace has so many days."""
        shortest = min(self.traces, key=lambda trace: len(trace.use))
        return shortest.first_day + int(rng.integers(0, len(shortest.use) - days + 1))

    def windows(self, rng: np.random.Generator, items: int, first_day: int, days: int) -> Float64:
        """(items, days): each trace in turn, moved by years of whole weeks to where it has all of the days."""
        order = [self.traces[place] for place in rng.permutation(len(self.traces))]
        found = []
        for item in range(items):
            trace = order[item % len(order)]
            offsets = np.arange(first_day - trace.first_day - 60 * WEEKS_DAYS, len(trace.use) - days + 1, WEEKS_DAYS)
            offsets = offsets[offsets >= 0]
            # A trace that is not much longer than the world may have no such year: then any whole week will do.
            weekly = np.arange((first_day - trace.first_day) % 7, len(trace.use) - days + 1, 7)
            choice = offsets if offsets.size else weekly if weekly.size else np.zeros(1, dtype=np.int64)
            start = int(rng.choice(choice))
            found.append(trace.use[start : start + days])
        return np.stack(found)


def real_families(data_dir: Path) -> tuple[ScenarioFamily, ...]:
    """Every group that the folder has, with packs that last about 5, 15 and 45 days, each with another gauge."""
    found = []
    for number, (group, (what, _)) in enumerate(_GROUPS.items()):
        if not trace_pool(data_dir, group).traces:
            continue
        known = trace_pool(data_dir, group).days_known()
        for place, (days, seller) in enumerate(_SCALES.items()):
            gauge_name, gauge = _GAUGES[(number + place) % len(_GAUGES)]
            beyond = round(HORIZON_PACKS * 1.25 * days)
            found.append(
                ScenarioFamily(
                    name=f"{group}-{days}-days",
                    description=f"{what}; packs of about {days} days; {gauge_name}",
                    sensor=gauge,
                    supply=SupplySpec(suppliers=(seller,)),
                    days=min(LIVED_DAYS_MAX, known - beyond - 7),
                    beyond_days=beyond,
                    pack_days=(0.8 * days, 1.25 * days),
                    trace_group=group,
                )
            )
    if not found:
        raise UsageError(f"{data_dir} has none of the data sets of real consumption")
    return tuple(found)


_SCALES = {
    5: SupplierSpec(name="acme", stated_lead_days=(0.5, 1.5)),
    15: SupplierSpec(name="acme"),
    45: SupplierSpec(name="acme", stated_lead_days=(2.0, 6.0)),
}
_GAUGES = (
    ("a good gauge", SensorSpec()),
    ("a noisy gauge in steps of 5 %", SensorSpec(noise=0.02, step=0.05)),
    ("a running counter", SensorSpec(sensing=Sensing.TOTAL, resets_per_year=2.0)),
)


@lru_cache(maxsize=8)
def trace_pool(data_dir: Path, group: str) -> TracePool:
    """The traces of a group that the folder has. Those of less than five months are left out."""
    made = []
    for name, first_day, use in _GROUPS[group][1](data_dir / "consumption"):
        mean = float(use.mean()) if use.size else 0.0
        if use.size >= _DAYS_MIN and mean > 0.0:
            made.append(Trace(name=name, first_day=first_day, use=use / mean))
    return TracePool(traces=tuple(made))


TraceRows = Iterator[tuple[str, int, Float64]]


def _training_series(word: str) -> Callable[[Path], TraceRows]:
    """Those series that training may use whose name begins so."""

    def read(folder: Path) -> TraceRows:
        yield from (row for row in consumption_series(folder.parent) if row[0].startswith(word))

    return read


def _shops(folder: Path) -> TraceRows:
    path = folder / "m5_sample/data.csv.gz"
    if path.is_file():
        rows = _rows(path)
        first = epoch_day(rows[0][4])
        for row in rows[1:]:
            yield f"m5 {' '.join(row[:4])}", first, np.array([float(value) for value in row[4:] if value])


def _vending(folder: Path) -> TraceRows:
    path = folder / "coffee_vending/machine_1.csv"
    if path.is_file():
        sold = [(_parse_us_date(row[0]), row[5]) for row in _rows(path)[1:]]
        products = [product for _, product in sold]
        top = sorted(set(products), key=lambda product: (-products.count(product), product))[:_TOP_PRODUCTS]
        span = (sold[0][0], sold[-1][0])
        for name in ("all", *top):
            days = np.array([day for day, product in sold if name in ("all", product)])
            yield f"coffee {name}", *sum_by_day(days, np.ones(len(days)), span)


def _seasons(folder: Path) -> TraceRows:
    """A burner's seconds, and what four reservoirs lost on days on which they did not rise."""
    path = folder / "burner_cycles/feeds.csv.gz"
    if path.is_file():
        rows = [row for row in _rows(path)[1:] if row[2]]
        days = np.array([epoch_day(row[0][:10]) for row in rows])
        yield "burner", *sum_by_day(days, np.array([float(row[2]) for row in rows]), (int(days[0]), int(days[-1])))
    path = folder / "chennai_reservoirs/levels.csv"
    if path.is_file():
        rows = _rows(path)
        first = epoch_day("-".join(reversed(rows[1][0].split("-"))))
        for column, name in enumerate(rows[0][1:], 1):
            level = np.array([float(row[column]) for row in rows[1:]])
            fall = np.maximum(-np.diff(level), 0.0)
            yield f"reservoir {name}", first, np.where(fall > _RELEASED_SHARE * level.max(), 0.0, fall)


def _rows(path: Path) -> list[list[str]]:
    return list(csv.reader(read_text(path).splitlines()))


def _parse_us_date(day: str) -> int:
    """3/1/2024 as days since the epoch."""
    month, of_month, year = (int(part) for part in day.split("/"))
    return epoch_day(f"{year:04}-{month:02}-{of_month:02}")


_GROUPS: dict[str, tuple[str, Callable[[Path], TraceRows]]] = {
    "water": ("water at the taps, toilet and machines of a home", _training_series("weusedto")),
    "power": ("electricity of a home and of its rooms", _training_series("household power")),
    "shops": ("sales of shops by department", _shops),
    "vending": ("cups of a vending machine by product", _vending),
    "seasons": ("a home's burner, and what four reservoirs lose", _seasons),
}
