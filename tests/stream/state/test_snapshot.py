"""Checkpoints load by name: what a build wrote is read by one whose columns differ, or refused by the name of what it lacks."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from config.fleet import Device
from star.analyse import QUANTILES, DetectedNeed, Forecast, NeedKind, RefillStage, RefillUpdate
from star.errors import ConfigError, LogDamaged, NewerFormat
from star.records import Record, Request, Tick
from star.sense import Readings
from stream.analysis import Analysis
from stream.detectors import (
    Detector,
    DetectorContext,
    EvaluationTick,
    Findings,
    FleetView,
    ItemEvent,
    Metric,
    Route,
    RoutedReadings,
)
from stream.detectors.registry import installed_detectors
from stream.state.shard_file import FORMAT, drop_devices, unpack_shard
from stream.state.state_table import MatrixSpec, Table
from tests.stream.analysis_bench import FixedSpread, NamesInMemory, at_day_ms, single_customer_fleet, tank

DEVICES: tuple[Device, ...] = (tank("a"), tank("b"))
SHARD = "block-0"
LIMIT = 3.0


class Tally(Detector):
    """Counts readings and requests of slots: a need from the third reading on."""

    def __init__(self, context: DetectorContext, *matrices: MatrixSpec, name: str = "tally") -> None:
        self._context = context
        self.table = Table(name, matrices or (MatrixSpec(name="tally", names=("readings", "sum"), fill=0.0),))
        self.requests: dict[int, int] = {}

    def tables(self) -> Sequence[Table]:
        """One."""
        return (self.table,)

    def set_fleet(self, fleet: FleetView) -> None:
        """A row for each slot."""
        for key, item in fleet.catalogue.slots.items():
            self.table.add(key, fleet.device_rows[item.device])

    def route(self, metric: Metric) -> Route | None:
        """Values named as a slot."""
        row = self.table.index.get(metric.name)
        return None if row is None else Route(row)

    def take(self, readings: RoutedReadings) -> None:
        """One after the other."""
        for row, value in zip(readings.row.tolist(), readings.readings.value.tolist(), strict=True):
            self.table["tally"][row, 0] += 1.0
            self.table["tally"][row, 1] += value

    def apply_event(self, event: ItemEvent) -> None:
        """Counts; a request for more than nothing refills."""
        row = self.table.index.get(event.item)
        if row is not None:
            device = int(self.table.device[row])
            self.requests[device] = self.requests.get(device, 0) + 1
            update = RefillUpdate(item=event.item, at_ms=event.at_ms, stage=RefillStage.DECLARED, quantity=1.0)
            self._context.emit_refill(device, update)

    def evaluate(self, tick: EvaluationTick) -> Findings:
        """Those with three readings."""
        rows = [row for row in tick.rows(self.table) if self.table["tally"][row, 0] >= LIMIT]
        return Findings(needs=[self._need(row, tick.at_ms) for row in rows])

    def _need(self, row: int, at_ms: int) -> DetectedNeed:
        readings, total = self.table["tally"][row].tolist()
        forecast = Forecast(
            item=self.table.names[row],
            at_ms=at_ms,
            level=total,
            days=(1.0,) * len(QUANTILES),
            rate_per_day=1.0,
            trust=1.0,
            model="tally@1:test",
            readings=int(readings),
            reading_ms=at_ms,
            reading=total,
        )
        return DetectedNeed(item=forecast.item, at_ms=at_ms, kind=NeedKind.RUN_OUT, cause="tally", forecast=forecast)

    def snapshot(self, device_row: int) -> Mapping[str, Any]:
        """The requests."""
        return {"requests": self.requests[device_row]} if device_row in self.requests else {}

    def restore(self, device_row: int, kept: Mapping[str, Any]) -> None:
        """Takes them back."""
        self.requests[device_row] = kept["requests"]


NAMES = NamesInMemory()
for _device in DEVICES:
    NAMES.number(f"{_device.id}/oil")


def analysis_with(**detectors: Any) -> Analysis:
    """An analysis of two tanks with these detectors and no others."""
    return Analysis(single_customer_fleet(DEVICES), NAMES, FixedSpread(), detectors=detectors)


def tally_of(*names: str, fill: float = 0.0, **spec: Any) -> Any:
    """A factory of a Tally with these columns."""
    return lambda context: Tally(context, MatrixSpec(name="tally", names=names, fill=fill, **spec))


def others(context: DetectorContext) -> Tally:
    """A Tally whose table has another name."""
    return Tally(context, name="others")


def reading(name: str, day: float, value: float) -> Readings:
    """One reading."""
    return Readings.from_rows([(NAMES.number(name), at_day_ms(day), at_day_ms(day), value, -1, -1)])


RECORDS: list[Record] = [
    reading("a/oil", 0.1, 5.0),
    reading("b/oil", 0.2, 7.0),
    reading("a/oil", 0.3, 6.0),
    Request(at_ms=at_day_ms(0.4), id="r-1", item="a/oil"),
    Tick(at_ms=at_day_ms(0.5)),
    reading("a/oil", 0.6, 4.0),
    reading("a/oil", 0.6, 4.0),
    Request(at_ms=at_day_ms(0.7), id="r-1", item="a/oil"),
    Tick(at_ms=at_day_ms(0.8)),
]


def checkpoint(records: Sequence[Record] = RECORDS, **detectors: Any) -> dict[str, bytes]:
    """The shards after some records."""
    analysis = analysis_with(**(detectors or {"tally": Tally}))
    for offset, record in enumerate(records):
        analysis.ingest(offset, record)
    return analysis.dirty_shards()


def loaded(shards: Mapping[str, bytes], **detectors: Any) -> Tally:
    """The tally of an analysis that took up the shards."""
    analysis = analysis_with(**(detectors or {"tally": Tally}))
    analysis.load_shards(shards)
    return analysis.detector(Tally)


def row_of(tally: Tally, item: str) -> list[float]:
    """Its columns."""
    values: list[float] = tally.table["tally"][tally.table.row(item)].tolist()
    return values


def test_an_analysis_runs_whatever_detectors_it_is_given() -> None:
    """Readings without their duplicates, events once each, refills and needs at the tick, in any state between restarts."""
    straight = analysis_with(tally=Tally)
    found = [straight.ingest(offset, record) for offset, record in enumerate(RECORDS)]
    first, last = [facts for facts in found if facts is not None]
    assert [(refill.item, refill.stage) for refill in first.refills] == [("a/oil", RefillStage.DECLARED)]
    assert first.needs == ()
    assert [(need.item, need.cause, need.forecast.level) for need in last.needs] == [("a/oil", "tally", 15.0)]
    assert last.refills == ()
    restarted = analysis_with(tally=Tally)
    restarted.load_shards(checkpoint(RECORDS[:5]))
    again = [restarted.ingest(offset, record) for offset, record in enumerate(RECORDS)]
    assert again[-1] == last
    assert restarted.detector(Tally).requests == straight.detector(Tally).requests == {0: 1}


def test_columns_load_by_name_whatever_their_order() -> None:
    """A build that has the same columns in another order reads the same values."""
    assert row_of(loaded(checkpoint(), tally=tally_of("sum", "readings")), "a/oil") == [15.0, 3.0]


def test_a_new_column_starts_at_its_default_in_older_state() -> None:
    """The others keep their values; so does a table that the state does not have."""
    tally = loaded(checkpoint(), tally=tally_of("readings", "since_ms", "sum", fill=-1.0))
    assert row_of(tally, "a/oil") == [3.0, -1.0, 15.0]


def test_a_detector_that_is_installed_later_starts_with_what_follows() -> None:
    """State without its table is read; that of the others is what it was."""
    analysis = analysis_with(others=others, tally=Tally)
    analysis.load_shards(checkpoint(others=others))
    tables = analysis.tables()
    assert tables["others"]["tally"][tables["others"].row("a/oil")].tolist() == [3.0, 15.0]
    assert tables["tally"]["tally"][tables["tally"].row("a/oil")].tolist() == [0.0, 0.0]


def test_a_renamed_column_keeps_its_values() -> None:
    """Former names of table, matrix and column are read as the present ones."""
    spec = MatrixSpec(
        name="counts",
        names=("total", "count"),
        fill=0.0,
        renamed={"sum": "total", "readings": "count"},
        former_name="tally",
    )

    class Renamed(Tally):
        def __init__(self, context: DetectorContext) -> None:
            super().__init__(context)
            self.table = Table("tallies", [spec], former_name="tally")

    tally = loaded(checkpoint(), tally=Renamed)
    assert tally.table["counts"][tally.table.row("a/oil")].tolist() == [15.0, 3.0]


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (tally_of("readings"), "table 'tally', matrix 'tally', has a column 'sum', which this Starloop does not know"),
        (tally_of("readings", "sum", dtype="<f4"), "has values of type <f8: expected <f4"),
        (
            lambda context: Tally(context, MatrixSpec(name="other", names=("sum",), fill=0.0)),
            "has a matrix 'tally', which this Starloop does not know: expected one of other",
        ),
        (
            lambda context: Tally(context, MatrixSpec(name="tally", names=("sum",), fill=0.0), name="other"),
            "has a table 'tally', which this Starloop does not know",
        ),
    ],
)
def test_state_that_this_build_does_not_know_is_refused_by_name(factory: Any, message: str) -> None:
    """A column, type, matrix or table of another build: named, and not dropped."""
    with pytest.raises(NewerFormat, match=message):
        loaded(checkpoint(), tally=factory)


def test_a_shard_of_a_newer_format_is_refused_in_words() -> None:
    """Its number, and what this build reads."""
    shards = checkpoint()
    wire = bytearray(shards[SHARD])
    wire[3:4] = str(FORMAT + 1).encode()
    with pytest.raises(NewerFormat, match=f"a state shard is of format {FORMAT + 1}, written by a newer Starloop"):
        loaded({**shards, SHARD: bytes(wire)})
    wire[:3] = b"ZIP"
    with pytest.raises(LogDamaged, match="starts with"):
        loaded({**shards, SHARD: bytes(wire)})


def test_the_state_of_a_detector_that_is_gone_is_refused_until_it_is_given_up() -> None:
    """Going on would lose it with the next checkpoint: the message names the detector and the setting that drops its state."""
    shards = checkpoint(tally=Tally, other=others)
    with pytest.raises(
        ConfigError, match=r"table 'others' of the detector 'other', .* add 'other' to STARLOOP_FORGET_DETECTORS"
    ):
        loaded(shards)
    catalogue = single_customer_fleet(DEVICES)
    forgetful = Analysis(
        catalogue, NAMES, FixedSpread(), detectors={"tally": Tally}, forget_detectors=frozenset({"other"})
    )
    forgetful.load_shards(shards)
    assert row_of(forgetful.detector(Tally), "a/oil") == [3.0, 15.0]
    forgetful.ingest(len(RECORDS), reading("a/oil", 1.0, 1.0))
    assert "others" not in unpack_shard(forgetful.dirty_shards()[SHARD]).rows


def test_detectors_that_clash_are_refused_by_name() -> None:
    """Two with a table of one name; one called as what the analysis itself keeps of a device."""
    with pytest.raises(ConfigError, match="tables: 'tally': expected names that nothing else has"):
        analysis_with(one=Tally, two=Tally)
    with pytest.raises(ConfigError, match="names: 'told'"):
        analysis_with(told=Tally)


def as_format_1(wire: bytes, tables: Mapping[str, Table]) -> bytes:
    """A shard as builds until 0.1 wrote it: former names of tables, matrices and columns, and no detectors."""
    length = int.from_bytes(wire[4:8], "little")
    header = json.loads(wire[12 : 12 + length])
    start, bodies = 12 + length, {}
    for name, stored in header["tables"].items():
        size = len(stored["names"]) * sum(
            np.dtype(dtype).itemsize * len(columns) for _, dtype, columns in stored["matrices"]
        )
        bodies[name], start = wire[start : start + size], start + size
        table = tables[name]
        specs = {spec.name: spec for spec in table.matrices}
        former = {name: {new: old for old, new in spec.renamed.items()} for name, spec in specs.items()}
        stored["matrices"] = [
            [specs[matrix].former_name or matrix, dtype, [former[matrix].get(column, column) for column in columns]]
            for matrix, dtype, columns in stored["matrices"]
        ]
        stored.pop("detector", None)
    renamed = {tables[name].former_name or name: name for name in header["tables"]}
    header["tables"] = {former: header["tables"][name] for former, name in renamed.items()}
    head = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    rest = head + b"".join(bodies[renamed[former]] for former in sorted(renamed))
    return b"SLB1" + len(head).to_bytes(4, "little") + zlib.crc32(rest).to_bytes(4, "little") + rest


def test_state_of_format_1_goes_on_as_it_was() -> None:
    """With the detectors that ship: the same facts and the same state from a checkpoint under the former names."""
    records = [reading("a/oil", day / 4, 900.0 - 5.0 * day) for day in range(40)]
    straight = Analysis(single_customer_fleet(DEVICES), NAMES, FixedSpread())
    for offset, record in enumerate((*records, Tick(at_ms=at_day_ms(10.0)))):
        straight.ingest(offset, record)
    shards = straight.dirty_shards()
    old = as_format_1(shards[SHARD], straight.tables())
    assert {"court", "look", "days"} < unpack_shard(old).rows["slots"].matrices.keys()
    restarted = Analysis(single_customer_fleet(DEVICES), NAMES, FixedSpread(), detectors=installed_detectors())
    restarted.load_shards({**shards, SHARD: old})
    for offset, record in enumerate((reading("a/oil", 10.5, 680.0), Tick(at_ms=at_day_ms(11.0))), len(records) + 1):
        assert restarted.ingest(offset, record) == straight.ingest(offset, record)
    assert restarted.dirty_shards() == straight.dirty_shards()
    assert unpack_shard(drop_devices(old, {"a"})).format == 1
