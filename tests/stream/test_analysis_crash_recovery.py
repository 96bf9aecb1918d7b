"""The real analysis under the worker, killed after any effect: its facts are those of an undisturbed run, byte for byte."""

from __future__ import annotations

import random

import pytest

from star.analyse import Facts
from star.records import Record, Request, Tick, decode, encode
from star.repeat import Outcome
from star.sense import Readings
from stream.analysis import Analysis
from stream.partition.partition_processor import SynchronousRunner
from stream.state.checkpoint import CheckpointPolicy
from stream.topics import FACTS, INPUT
from tests.stream.analysis_bench import FixedSpread, NamesInMemory, at_day_ms, counter, single_customer_fleet, tank
from tests.stream.partition.test_partition_processor import InMemoryCheckpointStore, InMemoryLog

DEVICES = [tank(f"tank-{nth}") for nth in range(5)] + [counter(f"cups-{nth}") for nth in range(5)]
POLICY = CheckpointPolicy(every_s=3 * 86_400.0, records=60)


def seasonal_records(rng: random.Random, names: NamesInMemory) -> list[Record]:
    """Eighty days of two batches a day: use, refills, duplicates, late readings, requests and declared refills."""
    levels = {f"tank-{nth}/oil": 900.0 - 100.0 * nth for nth in range(5)}
    records: list[Record] = []
    for half in range(160):
        day = half / 2
        rows = []
        for name in levels:
            levels[name] -= rng.uniform(2.0, 25.0)
            if levels[name] < 40.0:
                levels[name] += 500.0
            measured = at_day_ms(day if rng.random() < 0.9 else max(day - 3.0, 0.0))
            rows.append((names.number(name), measured, at_day_ms(day), levels[name] + rng.gauss(0, 2.0), 1, half))
        rows += [
            (names.number(f"cups-{nth}/beans_used"), at_day_ms(day), at_day_ms(day), float(rng.randrange(4)), -1, -1)
            for nth in range(5)
        ]
        rows += [rows[rng.randrange(len(rows))] for _ in range(2)]
        records.append(Readings.from_rows(rows))
        if rng.random() < 0.1:
            records.append(Request(at_ms=at_day_ms(day), id=f"q{half}", item="tank-1/oil", quantity=500.0))
        if rng.random() < 0.1:
            told = {"id": f"o{rng.randrange(8)}", "result": "refilled", "item": "cups-2/beans", "quantity": 100.0}
            records.append(Outcome(at_ms=at_day_ms(day), arrived_ms=at_day_ms(day), **told))  # type: ignore[arg-type]
        records.append(Tick(at_ms=at_day_ms(day)))
    return records


@pytest.mark.parametrize("seed", range(6))
def test_an_analysis_killed_at_any_step_finds_what_an_undisturbed_one_finds(seed: int) -> None:
    """Twelve kills in a season: facts of every tick once and the same, forecasts at the end the same."""
    rng = random.Random(seed)
    log, store, names = InMemoryLog(), InMemoryCheckpointStore(), NamesInMemory()
    records = seasonal_records(rng, names)
    for nth, record in enumerate(records):
        log.append(INPUT, [encode(record)])
        if nth % (len(records) // 12) == 0:
            shell = SynchronousRunner(
                log, store, Analysis(single_customer_fleet(DEVICES), names, FixedSpread()), POLICY
            )
            for _, _ in zip(range(rng.randrange(60)), shell.steps(), strict=False):
                pass
    last = SynchronousRunner(log, store, Analysis(single_customer_fleet(DEVICES), names, FixedSpread()), POLICY)
    last.run()
    undisturbed = Analysis(single_customer_fleet(DEVICES), names, FixedSpread())
    expected = [
        facts for offset, wire in log.read(INPUT, 0, 10_000) if (facts := undisturbed.ingest(offset, decode(wire)))
    ]
    assert store.offset > 0
    assert sum(len(facts.needs) for facts in expected) > 50
    assert [Facts.unpack(wire) for wire in log.topics[FACTS]] == expected
    assert log.topics[FACTS] == [facts.pack() for facts in expected]
    analysis = last.processor.analysis
    assert isinstance(analysis, Analysis)
    assert analysis.forecasts(at_day_ms(81)) == undisturbed.forecasts(at_day_ms(81))
