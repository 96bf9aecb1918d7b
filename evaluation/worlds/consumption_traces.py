"""Real consumption as the demand of simulations: daily traces of public data sets, in groups of the same kind.

They are read from a folder of data sets (`--data`, STARLOOP_DATA) and are not part of the repository; missing ones are left out.
Water and power (CC BY 4.0) are also training data: models/train/real_consumption.py lists what is held out. The others serve for
evaluation only. Monthly series (spare parts), deliveries and purchases are not consumption, and are not read.
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

SIMULATED_DAYS_MAX = 365
"""Longest simulation: a year, as for the synthetic families."""
HORIZON_PACKS = 2
"""Packs' worth of consumption kept beyond the last simulated day, so that forecasts can be scored to the end."""
SHIFT_DAYS = 364
"""Step by which traces may be shifted: about a year, and whole weeks, so that weekdays and seasons are kept."""
_DAYS_MIN = 150  # shortest trace used
_TOP_PRODUCTS = 5  # products of the vending machine with a trace of their own
_RELEASED_SHARE = (
    0.03  # of the highest level: a larger daily fall of a reservoir is a release or an error, not consumption
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Consumption by day, mean 1. first_day: since the epoch."""

    name: str
    first_day: int
    use: Float64


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePool:
    """The traces of one group. Implements scenarios.TraceSource."""

    traces: tuple[Trace, ...]

    def days_known(self) -> int:
        """Length of the shortest trace."""
        return min(len(trace.use) for trace in self.traces)

    def start(self, rng: np.random.Generator, days: int) -> int:
        """A random first day, since the epoch, from which the shortest trace has `days` days."""
        shortest = min(self.traces, key=lambda trace: len(trace.use))
        return shortest.first_day + int(rng.integers(0, len(shortest.use) - days + 1))

    def windows(self, rng: np.random.Generator, items: int, first_day: int, days: int) -> Float64:
        """(items, days) consumption: each trace in turn, shifted by multiples of SHIFT_DAYS to where it has all of the days."""
        order = [self.traces[place] for place in rng.permutation(len(self.traces))]
        windows = []
        for item in range(items):
            trace = order[item % len(order)]
            offsets = np.arange(first_day - trace.first_day - 60 * SHIFT_DAYS, len(trace.use) - days + 1, SHIFT_DAYS)
            offsets = offsets[offsets >= 0]
            # A trace barely longer than the simulation may allow no such shift: any whole number of weeks is used then.
            weekly = np.arange((first_day - trace.first_day) % 7, len(trace.use) - days + 1, 7)
            choice = offsets if offsets.size else weekly if weekly.size else np.zeros(1, dtype=np.int64)
            start = int(rng.choice(choice))
            windows.append(trace.use[start : start + days])
        return np.stack(windows)


def real_families(data_dir: Path) -> tuple[ScenarioFamily, ...]:
    """A family for each group in the folder and each pack size: about 5, 15 and 45 days, each with a different sensor.

    Raises UsageError where the folder has none of the data sets.
    """
    families = []
    for number, (group, (description, _)) in enumerate(_GROUPS.items()):
        if not trace_pool(data_dir, group).traces:
            continue
        known = trace_pool(data_dir, group).days_known()
        for position, (days, supplier) in enumerate(_SCALES.items()):
            sensor_name, sensor = _SENSORS[(number + position) % len(_SENSORS)]
            beyond = round(HORIZON_PACKS * 1.25 * days)
            families.append(
                ScenarioFamily(
                    name=f"{group}-{days}-days",
                    description=f"{description}; packs of about {days} days; {sensor_name}",
                    sensor=sensor,
                    supply=SupplySpec(suppliers=(supplier,)),
                    days=min(SIMULATED_DAYS_MAX, known - beyond - 7),
                    beyond_days=beyond,
                    pack_days=(0.8 * days, 1.25 * days),
                    trace_group=group,
                )
            )
    if not families:
        raise UsageError(f"{data_dir} has none of the data sets of real consumption")
    return tuple(families)


_SCALES = {
    5: SupplierSpec(name="acme", stated_lead_days=(0.5, 1.5)),
    15: SupplierSpec(name="acme"),
    45: SupplierSpec(name="acme", stated_lead_days=(2.0, 6.0)),
}
_SENSORS = (
    ("a good level sensor", SensorSpec()),
    ("a noisy level sensor with a resolution of 5 %", SensorSpec(noise=0.02, step=0.05)),
    ("a running counter", SensorSpec(sensing=Sensing.TOTAL, resets_per_year=2.0)),
)


@lru_cache(maxsize=8)
def trace_pool(data_dir: Path, group: str) -> TracePool:
    """The traces of a group in the folder; those shorter than five months are left out."""
    traces = []
    for name, first_day, use in _GROUPS[group][1](data_dir / "consumption"):
        mean = float(use.mean()) if use.size else 0.0
        if use.size >= _DAYS_MIN and mean > 0.0:
            traces.append(Trace(name=name, first_day=first_day, use=use / mean))
    return TracePool(traces=tuple(traces))


TraceSeries = Iterator[tuple[str, int, Float64]]


def _training_series(word: str) -> Callable[[Path], TraceSeries]:
    """A reader of the series of models.train.real_consumption whose names start with `word`."""

    def read(folder: Path) -> TraceSeries:
        yield from (row for row in consumption_series(folder.parent) if row[0].startswith(word))

    return read


def _shops(folder: Path) -> TraceSeries:
    path = folder / "m5_sample/data.csv.gz"
    if path.is_file():
        rows = _rows(path)
        first = epoch_day(rows[0][4])
        for row in rows[1:]:
            yield f"m5 {' '.join(row[:4])}", first, np.array([float(value) for value in row[4:] if value])


def _vending(folder: Path) -> TraceSeries:
    path = folder / "coffee_vending/machine_1.csv"
    if path.is_file():
        sold = [(_parse_us_date(row[0]), row[5]) for row in _rows(path)[1:]]
        products = [product for _, product in sold]
        top = sorted(set(products), key=lambda product: (-products.count(product), product))[:_TOP_PRODUCTS]
        span = (sold[0][0], sold[-1][0])
        for name in ("all", *top):
            days = np.array([day for day, product in sold if name in ("all", product)])
            yield f"coffee {name}", *sum_by_day(days, np.ones(len(days)), span)


def _seasons(folder: Path) -> TraceSeries:
    """A burner's seconds per day, and the daily fall of four reservoirs."""
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
    """Days since the epoch of a date such as 3/1/2024 (1 March)."""
    month, of_month, year = (int(part) for part in day.split("/"))
    return epoch_day(f"{year:04}-{month:02}-{of_month:02}")


_GROUPS: dict[str, tuple[str, Callable[[Path], TraceSeries]]] = {
    "water": ("water at the taps, toilet and machines of a home", _training_series("weusedto")),
    "power": ("electricity of a home and of its rooms", _training_series("household power")),
    "shops": ("sales of shops by department", _shops),
    "vending": ("cups of a vending machine by product", _vending),
    "seasons": ("a home's burner, and four reservoirs", _seasons),
}
