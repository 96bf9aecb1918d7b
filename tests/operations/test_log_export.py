"""`starloop log export`: what came in live, written so that replay reads exactly the same."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Customer, Device, Fleet, Slot, Supplier
from config.fleet_change import change_catalogue_from_json
from config.profile_file import load_profiles
from edge.decoder import Decoder
from operations.log_export import export_lines, log_ends
from reactor.store.memory import MemoryMetricRegistry
from reactor.store.sql import SqlStore
from star.records import FleetChange, Quarantined, Record, Request, SupplierTerms, Tick
from star.repeat import Outcome
from star.sense import Readings
from star.times import parse_time_ms
from stream.partition.partitioner import single_partition_entries
from stream.transports.embedded_log.sqlite_log import SqliteLog


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    slots = {"oil": Slot(capacity=100.0, pack=50.0, suppliers=("acme",))}
    devices = tuple(Device(id=name, customer="maria", profile="level-tank", slots=slots) for name in ("a", "b-2", "ü"))
    return resolve_catalogue(
        Fleet(
            customers=(Customer(id="maria", consents=("replenishment",)),),
            devices=devices,
            suppliers=(Supplier(id="acme", lead_time_days=(1.0, 2.0), price=5.0),),
        ),
        load_profiles(),
    )


NAMES = ("oil", "temperature", "Füllstand", "s_1")
TIMES = st.integers(-62_135_596_800_000, 253_402_300_799_000)
COUNTERS = st.one_of(st.just(-1), st.integers(0, 2**53))
ROWS = st.lists(
    st.tuples(
        st.sampled_from(("a", "b-2", "ü")),
        st.sampled_from(NAMES),
        st.one_of(st.just(None), TIMES),
        st.floats(allow_nan=False, allow_infinity=False),
        COUNTERS,
        COUNTERS,
        st.sampled_from((0, 0, 1, 40_000)),
    ),
    min_size=1,
    max_size=12,
)


def readings_of(
    rows: Sequence[tuple[str, str, int | None, float, int, int, int]], now_ms: int, names: MemoryMetricRegistry
):
    out = []
    for device, name, at_ms, value, boot, seq, later_ms in rows:
        now_ms += later_ms
        at = now_ms if at_ms is None else at_ms
        out.append((names.number(f"{device}/{name}"), at, now_ms, value, boot, seq))
    return Readings.from_rows(out), now_ms


def read_back(lines: Iterator[bytes], catalogue: Catalogue) -> tuple[list[Record | Quarantined], MemoryMetricRegistry]:
    """What replay makes of the lines before it analyses them."""
    names = MemoryMetricRegistry()
    intake = Decoder(catalogue, names)
    last_ms = None
    for line in lines:
        fields = json.loads(line)
        assert line.endswith(b"}\n")
        at_ms = parse_time_ms(fields.pop("at"))
        assert last_ms is None or at_ms >= last_ms
        last_ms = at_ms
        if "topic" in fields:
            whole = "payload" in fields
            payload = json.dumps(fields["payload"]).encode() if whole else base64.b64decode(fields["payload_base64"])
            intake.ingest(fields["topic"], payload, at_ms)
        elif "outcome" in fields:
            intake.ingest_outcome(fields["outcome"], at_ms)
        elif "request" in fields:
            intake.ingest_request(fields["request"], at_ms)
        elif "supplier" in fields:
            intake.ingest_supplier_terms(fields, at_ms)
        elif "fleet" in fields:
            tables = json.dumps(fields["fleet"])
            intake.catalogue = change_catalogue_from_json(intake.catalogue, tables)
            intake.append(FleetChange(at_ms=at_ms, tables=tables))
        elif "tick" in fields:
            intake.append(Tick(at_ms=at_ms))
        else:
            intake.quarantine(None, line, "no known kind", at_ms)
    return intake.drain(), names


def flat(records: Sequence[Record | Quarantined], names: MemoryMetricRegistry) -> list[object]:
    """Records as a list in which readings are rows with names: numbers of a registry and batches do not show."""
    out: list[object] = []
    for record in records:
        if not isinstance(record, Readings):
            out.append(record)
            continue
        columns = (record.at_ms, record.arrived_ms, record.value, record.boot, record.seq)
        rows = zip(record.metric.tolist(), *(column.tolist() for column in columns), strict=True)
        out.extend((names.name(row[0]), *row[1:3], row[3].hex(), *row[4:]) for row in rows)
    return out


def exported(log: SqliteLog, records: Sequence[Record | Quarantined], names: MemoryMetricRegistry) -> list[bytes]:
    log.append_batch(single_partition_entries(records))
    return list(export_lines(log, names, log_ends(log)))


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(ROWS, min_size=1, max_size=4), start_ms=st.integers(0, 4_000_000_000_000))
def test_readings_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    catalogue: Catalogue,
    batches: list[list[tuple[str, str, int | None, float, int, int, int]]],
    start_ms: int,
) -> None:
    """Export, then intake: the same columns in the same order, to the last bit and millisecond, up to numbering."""
    names = MemoryMetricRegistry()
    records: list[Record] = []
    now_ms = start_ms
    for rows in batches:
        readings, now_ms = readings_of(rows, now_ms, names)
        records += [readings, Tick(at_ms=now_ms)]
    with SqliteLog(tmp_path_factory.mktemp("log") / "log.db") as log:
        found, found_names = read_back(iter(exported(log, records, names)), catalogue)
    assert flat(found, found_names) == flat(records, names)


def test_what_people_and_suppliers_said_comes_back(tmp_path: Path, catalogue: Catalogue) -> None:
    """Outcomes with feedback, requests, terms, changes of the fleet, ticks: each as it was, in order."""
    tables = json.dumps({"customers": [{"id": "ben", "language": "fr", "contacts_per_week_max": 2}]})
    records: list[Record | Quarantined] = [
        Request(at_ms=1_001, id="q1", item="a/oil", quantity=3.25),
        Request(at_ms=1_001, id="q2", item="a/oil"),
        Outcome(at_ms=-5, arrived_ms=1_002, id="o1", result="refilled", item="a/oil", quantity=0.1),
        Outcome(
            at_ms=900,
            arrived_ms=1_003,
            id="o2",
            result="accepted",
            reaction="a/oil/1/offer/1",
            timing="late",
            csat=1,
            nps=0,
            ces=5,
            text='so "la la" \u2603\n',
        ),
        SupplierTerms(at_ms=1_004, supplier="acme", price=0.1 + 0.2, lead_time_days=(1.5, 3.0)),
        SupplierTerms(at_ms=1_004, supplier="acme", price=0.0),
        FleetChange(at_ms=1_005, tables=tables),
        Tick(at_ms=1_005),
    ]
    with SqliteLog(tmp_path / "log.db") as log:
        found, _ = read_back(iter(exported(log, records, MemoryMetricRegistry())), catalogue)
    assert found == records


def test_what_was_quarantined_is_quarantined_again_and_never_understood(tmp_path: Path, catalogue: Catalogue) -> None:
    """Raw payloads in order; what was refused for who said it, or is not whole, does not count the second time either."""
    accepted = json.dumps({"id": "x", "reaction": "a/oil/1/offer/1", "result": "accepted"}).encode()
    aside = [
        Quarantined(at_ms=1_000, topic="starloop/v1/a/telemetry", payload=b"\xff{", reason="not JSON"),
        Quarantined(at_ms=1_500, topic="starloop/v1/a/outcomes", payload=accepted, reason="which spends money"),
        Quarantined(at_ms=1_500, topic=None, payload=b"what?", reason="not a line"),
        Quarantined(at_ms=3_000, topic="t", payload=b"1" * 10, reason="x (the first 10 bytes kept of 99, sha256 y)"),
    ]
    ticks = [Tick(at_ms=at_ms) for at_ms in (900, 1_500, 2_000)]
    with SqliteLog(tmp_path / "log.db") as log:
        found, _ = read_back(iter(exported(log, [*aside, *ticks], MemoryMetricRegistry())), catalogue)
    kinds = [(type(record).__name__, record.at_ms) for record in found if not isinstance(record, Readings)]
    q, t = "Quarantined", "Tick"
    assert kinds == [(t, 900), (q, 1_000), (q, 1_500), (q, 1_500), (t, 1_500), (t, 2_000), (q, 3_000)]
    assert isinstance(found[1], Quarantined)
    assert found[1].payload == b"\xff{"


def test_rows_of_one_message_are_one_line(tmp_path: Path) -> None:
    """Same device, times, boot and seq: one object; a name that comes twice begins the next."""
    names = MemoryMetricRegistry()
    rows = [("a", "oil"), ("a", "temperature"), ("a", "oil"), ("b-2", "oil")]
    readings = Readings.from_rows([(names.number("/".join(row)), 5, 1_500, 0.5, 3, 17) for row in rows])
    with SqliteLog(tmp_path / "log.db") as log:
        lines = [json.loads(line) for line in exported(log, [readings], names)]
    assert lines[0] == {
        "at": 1.5,
        "topic": "starloop/v1/a/telemetry",
        "payload": {"at": 0.005, "seq": 17, "boot": 3, "values": {"oil": 0.5, "temperature": 0.5}},
    }
    assert [list(line["payload"]["values"]) for line in lines] == [["oil", "temperature"], ["oil"], ["oil"]]


def test_the_log_of_a_running_service_can_be_exported(tmp_path: Path) -> None:
    """Read-only, beside the process that owns it; more than is read at a time."""
    with SqliteLog(tmp_path / "log.db") as log:
        log.append_batch(single_partition_entries([Tick(at_ms=nth) for nth in range(1_234)]))
        with SqliteLog(tmp_path / "log.db", read_only=True) as reader:
            lines = list(export_lines(reader, MemoryMetricRegistry(), log_ends(reader)))
    assert len(lines) == 1_234
    assert lines[1_233] == b'{"at":1.233,"tick":true}\n'


def starloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "starloop", *arguments], capture_output=True, text=True, check=False)


def test_an_operator_exports_a_stopped_service_s_log(tmp_path: Path) -> None:
    """The command reads names from the store, writes the file whole, and says how much; standard output works too."""
    with SqlStore(f"sqlite:///{tmp_path}/store.db") as store, SqliteLog(tmp_path / "log.db") as log:
        number = store.names.number("a/oil")
        readings = Readings.from_rows([(number, 1_000, 2_000, 7.25, -1, 3)])
        log.append_batch(single_partition_entries([readings, Tick(at_ms=2_000)]))
    done = starloop("log", "export", "--data", str(tmp_path), "--out", str(tmp_path / "lines.jsonl"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "2 lines written\n")
    expected = (
        '{"at":2.0,"topic":"starloop/v1/a/telemetry","payload":{"at":1.0,"seq":3,"values":{"oil":7.25}}}\n'
        '{"at":2.0,"tick":true}\n'
    )
    assert (tmp_path / "lines.jsonl").read_text() == expected
    assert starloop("log", "export", "--data", str(tmp_path)).stdout == expected
    assert not list(tmp_path.glob("*.part"))


def test_a_mistaken_directory_or_file_is_one_clear_line(tmp_path: Path) -> None:
    """Exit 1, what was found, what was expected, and no file left behind."""
    done = starloop("log", "export", "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no service has run here" in done.stderr
    SqlStore(f"sqlite:///{tmp_path}/store.db").close()
    SqliteLog(tmp_path / "log.db").close()
    done = starloop("log", "export", "--data", str(tmp_path), "--out", str(tmp_path / "no" / "lines.jsonl"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "expected a writable file" in done.stderr
