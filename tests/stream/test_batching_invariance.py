"""However readings are batched on their way, and wherever a run is cut and taken up again, the same comes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.fleet import Device, Slot
from models.onnx_scorer import load_scorer
from star.records import Record, Request, SupplierTerms, Tick
from star.repeat import Outcome
from star.sense import Readings
from stream.analysis import Analysis
from tests.stream.analysis_bench import DAY_MS, NamesInMemory, at_day_ms, counter, date_of, single_customer_fleet, tank

DEVICES = (
    tank("tank-1"),
    tank("tank-2", spare_packs=True),
    counter("count-1"),
    Device(
        id="coffee",
        customer="maria",
        profile="coffee-machine",
        slots={"beans": Slot(capacity=100.0, pack=100.0, suppliers=("acme",))},
    ),
    Device(id="pump", customer="maria", profile="generic-monitor"),
)
SCORER = load_scorer("run-out")


def random_records(seed: int, days: int = 6) -> list[Record]:
    """A few days of five devices with noise, spikes, refills, resets, duplicates, late and impossible times, and events."""
    rng = np.random.default_rng(seed)
    names = NamesInMemory()
    for name in METRICS:
        names.number(name)
    level, total, records = {"tank-1": 700.0, "tank-2": 300.0}, 0.0, []
    seq = {device.id: 0 for device in DEVICES}
    for hour in range(0, days * 24, 6):
        rows: list[tuple[int, int, int, float, int, int]] = []
        for step in range(6):
            now = at_day_ms((hour + step) / 24)
            for name in level:
                level[name] -= rng.gamma(2.0, 3.0)
                if level[name] < 100 or rng.random() < 0.02:
                    level[name] = 950.0
                value = level[name] + rng.normal() * 8 if rng.random() > 0.06 else float(rng.choice([0, 1000, -5]))
                late = int(rng.choice([0, 0, 0, 0, 3600_000, 5 * DAY_MS, -400_000, 900 * DAY_MS]))
                twice = 1 + (rng.random() < 0.1)
                rows += [(METRICS.index(f"{name}/oil"), now - late, now, value, -1, -1)] * twice
                warmth = float(rng.choice([rng.normal(8.0, 5.0), 99.0, -300.0], p=[0.9, 0.05, 0.05]))
                rows += [(METRICS.index(f"{name}/temperature"), now - late, now, warmth, -1, -1)] * twice
            total = total + float(rng.integers(0, 3)) if rng.random() > 0.03 else 1.0
            for name, value in (("count-1/beans_total", total), ("coffee/beans_used", float(rng.integers(0, 2)))):
                device = name.split("/")[0]
                seq[device] = max(0, seq[device] + int(rng.choice([1, 1, 1, 1, 1, 3, -1, 0])))
                rows.append((METRICS.index(name), now, now, value, 1, seq[device]))
            pump = [(METRICS.index(f"pump/{v}"), now, now, float(rng.normal()), 2, hour + step) for v in "ab"]
            rows += pump
        records.append(Readings.from_rows(rows))
        if rng.random() < 0.3:
            records.append(Request(at_ms=at_day_ms((hour + 5) / 24), id=f"r{hour}", item="tank-1/oil"))
        if rng.random() < 0.4:
            item = str(rng.choice(["tank-1/oil", "tank-2/oil", "count-1/beans", "coffee/descaling"]))
            result = "serviced" if item.endswith("descaling") else "refilled"
            moment = at_day_ms((hour + 5) / 24)
            records.append(Outcome(at_ms=moment, arrived_ms=moment, id=f"o{hour // 12}", result=result, item=item))  # type: ignore[arg-type]
        if hour == 48:
            records.append(SupplierTerms(at_ms=at_day_ms(2), supplier="acme", lead_time_days=(3.0, 9.0)))
        records.append(Tick(at_ms=at_day_ms((hour + 5) / 24)))
    return records


METRICS = (
    *("tank-1/oil", "tank-2/oil", "count-1/beans_total", "coffee/beans_used", "pump/a", "pump/b"),
    *("tank-1/temperature", "tank-2/temperature"),
)
AWAY = ((date_of(3), date_of(4)), (date_of(9), date_of(20)))


def analysis() -> Analysis:
    names = NamesInMemory()
    for name in METRICS:
        names.number(name)
    return Analysis(single_customer_fleet(DEVICES, AWAY), names, SCORER)


def run_analysis(records: Sequence[tuple[int, Record]], into: Analysis, *, scores: bool = True) -> list[bytes]:
    """The facts' bytes at each tick, with the forecasts' and the scores'."""
    out = []
    for offset, record in records:
        facts = into.ingest(offset, record)
        if facts is not None:
            out.append(
                facts.pack()
                + (repr(into.drain_scores()) if scores else "").encode()
                + repr(into.forecasts(facts.at_ms)).encode()
            )
    return out


def batched(records: Sequence[Record], sizes: Sequence[int]) -> list[tuple[int, Record]]:
    """The records with their offsets, readings cut in pieces of the sizes given, over and over."""
    out: list[tuple[int, Record]] = []
    turn = 0
    for offset, record in enumerate(records):
        if not isinstance(record, Readings):
            out.append((offset, record))
            continue
        start = 0
        while start < len(record):
            size = sizes[turn % len(sizes)]
            turn += 1
            out.append((offset, record.select(slice(start, start + size))))
            start += size
    return out


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_any_batching_of_the_same_readings_gives_the_same_facts_and_state(seed: int, sizes: list[int]) -> None:
    """Facts, scores, forecasts and checkpoints are the same bytes, wherever batches are cut."""
    records = random_records(seed)
    whole, pieces = analysis(), analysis()
    assert run_analysis(list(enumerate(records)), whole) == run_analysis(batched(records, sizes), pieces)
    assert whole.dirty_shards() == pieces.dirty_shards()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.95), piece=st.integers(1, 20))
def test_a_run_taken_up_from_its_checkpoint_goes_on_as_if_it_had_not_stopped(
    seed: int, share: float, piece: int
) -> None:
    """A new analysis that loads the blocks, cut anywhere, gives the same facts and blocks from there on."""
    records = list(enumerate(record for _, record in batched(random_records(seed), [piece])))
    split = int(len(records) * share)
    first = analysis()
    kept: dict[str, bytes] = {}
    for start in range(0, split, 7):
        run_analysis(records[start : min(start + 7, split)], first, scores=False)
        kept |= first.dirty_shards()
    second = analysis()
    second.load_shards(kept)
    overlap = max(0, split - 5)  # the log is read again from a little before: what blocks include changes nothing
    again = run_analysis(records[overlap:], second, scores=False)
    expected = run_analysis(records[split:], first, scores=False)
    assert again[len(again) - len(expected) :] == expected
    assert second.dirty_shards() == first.dirty_shards()


def test_a_damaged_block_is_named_and_not_taken() -> None:
    """A flipped byte in a checkpoint raises LogDamaged."""
    from star.errors import LogDamaged

    first = analysis()
    run_analysis(list(enumerate(random_records(1, days=1))), first)
    blocks = first.dirty_shards()
    key = next(key for key in blocks if key.startswith("block"))
    wire = bytearray(blocks[key])
    wire[len(wire) // 2] ^= 1
    with pytest.raises(LogDamaged, match="damaged"):
        analysis().load_shards({**blocks, key: bytes(wire)})
