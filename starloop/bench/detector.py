"""Benchmark of the run-out detector with its model: CPU time per reading, in batches of 1,000, evaluations included.

There is no transport, log or reactor: the analysis gets batches of columns, each followed by a tick, as in a live service under
load. The cost of evaluations depends on how often an item reports, so there are two loads: tanks that report every 15 minutes, and ten
times as many that report every two seconds (10,000 readings per second).
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Customer, Device, Experience, Fleet, Slot, Supplier
from config.profile_file import load_profiles
from models.onnx_scorer import load_scorer
from reactor.store.memory import MemoryMetricRegistry
from star.records import Tick
from star.sense import NO_BOOT, NO_SEQ, Readings
from starloop.bench.measurements import Measurement
from stream.analysis import Analysis
from stream.detectors.slots.run_out import RunOutDetector

Float64 = NDArray[np.float64]

BATCH = 1_000
CAPACITY, PACK = 1_000.0, 800.0
_START_MS = 1_767_225_600_000
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorLoad:
    """Load: each of `items` reports a level every `every_s` seconds. warm_up: readings before the measurement."""

    name: str
    items: int
    every_s: float
    warm_up: int


EVERY_15_MIN = DetectorLoad(name="a level each 15 minutes", items=2_000, every_s=900.0, warm_up=400_000)
EVERY_2_S = DetectorLoad(name="a level each 2 seconds", items=20_000, every_s=2.0, warm_up=400_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU microseconds per reading for ingest and for evaluations at ticks; evaluations: item evaluations per reading."""

    ingest_us: float
    evaluation_us: float
    evaluations: float


def run(readings: int, runs: int) -> list[Measurement]:
    """Measurements of both loads."""
    figures = []
    for load in (EVERY_15_MIN, EVERY_2_S):
        costs = []
        for number in range(runs):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                costs.append(process.submit(measure, load, readings, number).result())
        figures += [
            Measurement(
                name=f"detector, {load.name}, total",
                unit="µs/reading",
                runs=tuple(one.ingest_us + one.evaluation_us for one in costs),
            ),
            Measurement(name="  ingest", unit="µs/reading", runs=tuple(one.ingest_us for one in costs)),
            Measurement(
                name="  evaluations, model included", unit="µs/reading", runs=tuple(one.evaluation_us for one in costs)
            ),
            Measurement(name="  evaluations of items", unit="1/reading", runs=tuple(one.evaluations for one in costs)),
        ]
    return figures


def measure(load: DetectorLoad, readings: int, seed: int) -> Cost:
    """One run, with this number of readings after the warm-up."""
    catalogue, names = _catalogue(load.items), MemoryMetricRegistry()
    analysis = Analysis(catalogue, names, load_scorer("run-out"))
    run_out = analysis.detector(RunOutDetector)
    metrics = np.array([names.number(f"tank-{item}/oil") for item in range(load.items)], dtype=np.int32)
    tanks = _Tanks(load, seed)
    offset = ingested = evaluations = 0
    ingest_s = evaluation_s = 0.0
    while ingested < load.warm_up + readings:
        batch, at_ms = tanks.batch(metrics)
        start_s = time.process_time()
        analysis.ingest(offset + 1, batch)
        ingested_s = time.process_time()
        analysis.ingest(offset + 2, Tick(at_ms=at_ms))
        offset += 2
        if ingested >= load.warm_up:
            ingest_s += ingested_s - start_s
            evaluation_s += time.process_time() - ingested_s
            evaluations += 0 if run_out.last_forecasts is None else run_out.last_forecasts.rows.size
        ingested += BATCH
    return Cost(
        ingest_us=ingest_s / readings * 1e6,
        evaluation_us=evaluation_s / readings * 1e6,
        evaluations=evaluations / readings,
    )


class _Tanks:
    """Simulated tanks with two to six weeks between deliveries and sensor noise, refilled when low."""

    def __init__(self, load: DetectorLoad, seed: int) -> None:
        self._load = load
        self._rng = np.random.default_rng(seed)
        self._rate: Float64 = PACK / self._rng.uniform(14.0, 42.0, load.items)
        self._level: Float64 = self._rng.uniform(0.15, 1.0, load.items) * CAPACITY
        self._next = 0

    def batch(self, metrics: NDArray[np.int32]) -> tuple[Readings, int]:
        """The next readings, one per tank in turn, and the time of the last one."""
        load = self._load
        numbers = np.arange(self._next, self._next + BATCH)
        self._next += BATCH
        tanks = numbers % load.items
        used = self._rate[tanks] * load.every_s / _DAY_S * self._rng.gamma(2.0, 0.5, BATCH)
        level = self._level[tanks] - used
        level[level < 0.1 * CAPACITY] += PACK
        self._level[tanks] = level
        at_ms = _START_MS + (numbers * (load.every_s * 1000.0 / load.items)).astype(np.int64)
        return Readings(
            metric=metrics[tanks],
            at_ms=at_ms,
            arrived_ms=at_ms,
            value=np.round(level + self._rng.normal(0.0, 1.0, BATCH), 1),
            boot=np.full(BATCH, NO_BOOT, dtype=np.int64),
            seq=np.full(BATCH, NO_SEQ, dtype=np.int64),
        ), int(at_ms[-1])


def _catalogue(items: int) -> Catalogue:
    slots = {"oil": Slot(capacity=CAPACITY, pack=PACK, suppliers=("acme",))}
    customer = Customer(id="c", experience=Experience.AUTO, consents=("replenishment",))
    devices = tuple(Device(id=f"tank-{n}", customer="c", profile="level-tank", slots=slots) for n in range(items))
    acme = Supplier(id="acme", lead_time_days=(2.0, 5.0), price=100.0)
    return resolve_catalogue(Fleet(customers=(customer,), devices=devices, suppliers=(acme,)), load_profiles())
