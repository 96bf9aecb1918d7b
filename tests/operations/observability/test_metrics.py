"""Metrics of real parts at a scrape, also while a server is unavailable."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge.decoder import Decoder
from edge.ingest_batcher import WAITING_MESSAGES_MAX
from edge.ingest_service import IngestService
from edge.mqtt_broker.authorization import Authenticator
from edge.mqtt_broker.broker import Arrival, Broker
from edge.mqtt_broker.server import BrokerServer, Limits
from operations.observability.metric_catalogue import METRICS, metrics_table
from operations.observability.metrics import Meters, starloop_version
from operations.observability.metrics_snapshot import (
    FIGURES,
    Heartbeat,
    SnapshotWindow,
    figures_table,
    snapshot_since_start,
)
from operations.observability.probes import (
    OutboxFigures,
    watch_gate,
    watch_log,
    watch_outbox,
    watch_reactor,
    watch_sink,
    watch_stream,
)
from reactor.store.memory import MemoryMetricRegistry
from reactor.unit_of_work import StepResult
from runtime.calibration_monitor import FORECASTS_MIN, CalibrationMonitor
from star.errors import LogError, StoreError
from star.react import Decision
from star.records import Quarantined
from stream.sinks.options import InfluxStatus
from tests.support.delivery_fleet import fleet_of, reaction_of

ROOT = Path(__file__).parents[3]
METRICS_PAGE = ROOT / "docs" / "reference" / "metrics.md"


def scraped(meters: Meters) -> dict[str, float]:
    """Every sample of a scrape, by its name in the Prometheus format."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(meters.exposition().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


class IngestRig:
    """A gate and an ingest service on a fake log that can be blocked."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.written = 0
        self.ingest = IngestService(
            Decoder(fleet_of(), MemoryMetricRegistry()), self.append, lambda: 1_000, lambda *_, **__: None
        )
        self.broker = Broker(lambda: 0.0)
        self.broker.ingest = self.ingest
        self.gate = BrokerServer(
            self.broker, Authenticator(None, lambda _: None), lambda *_, **__: None, Limits(connections_max=2)
        )
        self.meters = Meters("up")
        watch_gate(
            self.meters,
            self.gate,
            self.ingest,
            messages=lambda: self.written,
            waiting_bytes=lambda: self.ingest._waiting_bytes,
            waiting_messages_max=WAITING_MESSAGES_MAX,
        )

    async def append(self, records: Sequence[object], quarantined: Sequence[Quarantined]) -> None:
        """Waits while the log is blocked, then counts the records."""
        await self.open.wait()
        self.written += len(records)

    async def offer(self, payload: bytes) -> None:
        """Offers a message of the tank; returns when it is written."""
        done = asyncio.Event()
        self.ingest.offer([Arrival("starloop/v1/tank-7/telemetry", payload, 1_000, True)], done.set)
        await done.wait()


@pytest.fixture
async def rig() -> AsyncIterator[IngestRig]:
    """The running rig."""
    made = IngestRig()
    running = asyncio.create_task(made.ingest.run())
    yield made
    await made.gate.stop()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_an_operator_sees_readings_and_quarantined_payloads(rig: IngestRig) -> None:
    """Three values in two messages are three readings; an invalid payload is quarantined and not counted as a reading."""
    await rig.offer(b'{"values": {"oil": 3.0, "heat": 4.0}}')
    await rig.offer(b'{"values": {"oil": 2.0}}')
    await rig.offer(b"no JSON at all")
    found = scraped(rig.meters)
    assert (found["starloop_readings_total"], found["starloop_quarantined_total"]) == (3.0, 1.0)
    assert found["starloop_messages_total"] == 2.0
    assert found[f"starloop_build_info{{role=up,version={starloop_version()}}}"] == 1.0


async def test_an_operator_sees_connections_beside_their_limit(rig: IngestRig) -> None:
    """Two sockets of two allowed are open; the third is turned away and counted."""
    port = await rig.gate.start("127.0.0.1", 0)
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    async with asyncio.timeout(5):
        assert await opened[2][0].read() == b""
    found = scraped(rig.meters)
    assert found["starloop_connections"] == found["starloop_connections_limit"] == 2.0
    assert found["starloop_connections_refused_total"] == 1.0
    for _, writer in opened:
        writer.close()


async def test_a_blocked_log_shows_as_waiting_bytes(rig: IngestRig) -> None:
    """Messages behind a blocked batch are counted beside their limit, until they are written."""
    rig.open.clear()
    first = asyncio.create_task(rig.offer(b'{"values": {"oil": 3.0}}'))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(rig.offer(b'{"values": {"oil": 2.0}}'))
    await asyncio.sleep(0)
    found = scraped(rig.meters)
    assert found["starloop_intake_waiting_bytes"] == len(b'{"values": {"oil": 2.0}}')
    assert found["starloop_intake_waiting_bytes"] < found["starloop_intake_limit_bytes"]
    rig.open.set()
    await first
    await second
    assert scraped(rig.meters)["starloop_intake_waiting_bytes"] == 0.0


async def test_an_unavailable_store_is_reported_without_stale_figures() -> None:
    """While the store is available its figures are exported; otherwise only that it is unreachable."""
    away = False

    def figures() -> OutboxFigures:
        if away:
            raise StoreError("connection refused")
        return OutboxFigures(waiting=4, oldest_s=7.5, given_up=1)

    meters = Meters("react")
    watch_outbox(meters, figures)
    await meters.poll_once()
    found = scraped(meters)
    assert (found["starloop_store_reachable"], found["starloop_outbox_waiting"]) == (1.0, 4.0)
    away = True
    await meters.poll_once()
    found = scraped(meters)
    assert found["starloop_store_reachable"] == 0.0
    assert "starloop_outbox_waiting" not in found
    assert snapshot_since_start(meters).keys().isdisjoint({"outbox_waiting", "outbox_oldest_s", "outbox_given_up"})


async def test_an_unexpected_error_in_a_poll_does_not_end_the_others() -> None:
    """`run` continues, and the results of other polls are exported."""

    async def breaks() -> Mapping[str, float]:
        raise KeyError("partition 3")

    async def works() -> Mapping[str, float]:
        return {"starloop_outbox_waiting": 2.0}

    meters = Meters("react")
    meters.register_poll(breaks, reachable="starloop_store_reachable")
    meters.register_poll(works)
    running = asyncio.create_task(meters.run(every_s=0.01))
    await asyncio.sleep(0.1)
    assert not running.done()
    running.cancel()
    found = scraped(meters)
    assert (found["starloop_store_reachable"], found["starloop_outbox_waiting"]) == (0.0, 2.0)
    assert found["starloop_event_loop_late_seconds"] >= 0.0


async def test_lag_is_seen_by_partition_and_summed_for_the_log() -> None:
    """Topics of one partition are summed, the snapshot has the total, and an unavailable log leaves no figure."""
    behind: Mapping[tuple[str, int], int] | None = {("input", 0): 5, ("input", 1): 7, ("facts", 1): 1}

    async def lag() -> Mapping[tuple[str, int], int]:
        if behind is None:
            raise LogError("no broker")
        return behind

    meters = Meters("stream")
    watch_stream(meters, lag=lag, checkpoint_age_s=lambda: {0: 3.0, 1: 12.0})
    await meters.poll_once()
    found = scraped(meters)
    assert found["starloop_stream_lag_records{partition=1}"] == 8.0
    assert found["starloop_checkpoint_age_seconds{partition=0}"] == 3.0
    figures = snapshot_since_start(meters)
    assert (figures["stream_lag_records"], figures["checkpoint_age_s"]) == (13.0, 12.0)
    behind = None
    await meters.poll_once()
    assert not any(name.startswith("starloop_stream_lag") for name in scraped(meters))


async def test_reactions_and_decisions_are_counted_by_kind_never_by_device() -> None:
    """An order and a wait: one reaction, two decisions, labels from a fixed set."""
    meters = Meters("react")
    count_step = watch_reactor(meters)
    order = reaction_of()
    receipts = [
        Decision(id="1", need=order.need, at_ms=0, verdict=str(order.type), because="", reaction=order.id),
        Decision(id="2", need=order.need, at_ms=0, verdict="wait", because=""),
    ]
    count_step(StepResult(offset=1, at_ms=0, reactions=(order,), decisions=tuple(receipts)))
    found = scraped(meters)
    assert found["starloop_reactions_total{type=starloop.order.requested}"] == 1.0
    assert found["starloop_decisions_total{verdict=wait}"] == 1.0
    assert snapshot_since_start(meters)["decisions_total"] == 2.0
    labels = {name for family in METRICS for name in family.label.replace(" ", "").split(",") if name}
    assert labels == {"version", "role", "partition", "promise", "type", "verdict"}


def test_influx_is_neither_up_nor_down_before_it_was_tried() -> None:
    """Reachable is left out until known; points and refusals come from the sink's own status."""

    class Sink:
        now = InfluxStatus()

        def status(self) -> InfluxStatus:
            return self.now

    sink, meters = Sink(), Meters("influx")
    watch_sink(meters, sink)
    assert "starloop_influx_reachable" not in scraped(meters)
    sink.now = InfluxStatus(reachable=False, behind_records=9, written_points=100, rejected_points=2)
    found = scraped(meters)
    assert (found["starloop_influx_reachable"], found["starloop_influx_behind_records"]) == (0.0, 9.0)
    assert (found["starloop_influx_points_total"], found["starloop_influx_rejected_total"]) == (100.0, 2.0)


def test_one_figure_that_fails_does_not_hide_the_others() -> None:
    """The scrape goes on without it."""
    meters = Meters("gate")
    meters.register_read("starloop_connections", lambda: 1 // 0)
    watch_log(meters, lambda: None)
    found = scraped(meters)
    assert "starloop_connections" not in found
    assert found["starloop_log_reachable"] == 1.0


def test_a_metric_that_is_not_in_the_catalogue_can_not_be_made() -> None:
    """A name of its own raises, so the page and the alerts know every one."""
    with pytest.raises(KeyError):
        Meters("gate").register_read("starloop_conections", lambda: 0.0)


def test_quantiles_of_a_snapshot_are_of_the_time_since_the_last() -> None:
    """A slow minute does not stay in the 99 % quantile of the next: 100 ms within a bucket's width, then 2 s, then nothing."""
    meters = Meters("stream")
    watch_stream(meters)
    snapshots = SnapshotWindow(meters)
    for _ in range(100):
        meters.decision_seconds.observe(0.09)
    figures = snapshots.take_snapshot()
    assert 75.0 <= figures["decision_ms_p50"] <= figures["decision_ms_p99"] <= 100.0
    for _ in range(100):
        meters.decision_seconds.observe(2.0)
    assert 1500.0 <= snapshots.take_snapshot()["decision_ms_p50"] <= 2500.0
    assert "decision_ms_p50" not in snapshots.take_snapshot()


def test_a_rate_is_of_the_time_since_the_last_snapshot() -> None:
    """500 readings in ten seconds are 50 a second, whatever came before."""
    now_s, readings = 0.0, 1_000
    meters = Meters("gate", monotonic=lambda: now_s)
    meters.register_read("starloop_readings_total", lambda: readings)
    snapshots = SnapshotWindow(meters)
    now_s = 10.0
    snapshots.take_snapshot()
    now_s, readings = 20.0, 1_500
    assert snapshots.take_snapshot()["readings_per_s"] == 50.0


async def test_a_heartbeat_is_a_record_of_numbers_and_survives_an_unavailable_log() -> None:
    """JSON with role, instance and known figures; a LogError is ignored."""
    records: list[bytes] = []
    fails = [LogError("no broker")]

    async def append(value: bytes) -> None:
        if fails:
            raise fails.pop()
        records.append(value)

    meters = Meters("gate", "gate-1")
    watch_log(meters, lambda: None)
    heartbeat = Heartbeat(meters, append, now_ms=lambda: 77)
    await heartbeat.send()
    await heartbeat.send()
    (found,) = map(json.loads, records)
    assert (found["at_ms"], found["role"], found["instance"]) == (77, "gate", "gate-1")
    assert set(found["fields"]) <= set(FIGURES)
    assert found["fields"]["rss_bytes"] > 1_000_000


def levels_of(seed: int, spread: float) -> Sequence[float]:
    """Quantile levels of actual values. spread 1: calibrated; above 1: intervals too narrow."""
    chance = random.Random(seed)
    return [min(max(0.5 + (chance.random() - 0.5) * spread, 0.01), 0.99) for _ in range(1_000)]


def test_calibrated_forecasts_show_no_drift_and_nominal_coverage() -> None:
    """Of 1,000 uniform levels 90 % and 50 % lie within, give or take three standard errors, and PSI stays below 0.1."""
    monitor = CalibrationMonitor()
    monitor.add(levels_of(1, 1.0))
    coverage = monitor.coverage()
    assert coverage is not None
    assert coverage["0.90"] == pytest.approx(0.90, abs=0.03)
    assert coverage["0.50"] == pytest.approx(0.50, abs=0.05)
    drift = monitor.psi()
    assert drift is not None
    assert drift < 0.1


def test_forecasts_with_narrow_intervals_show_as_drift() -> None:
    """With intervals that are too narrow, coverage falls and the PSI rises above 0.2."""
    monitor = CalibrationMonitor()
    monitor.add(levels_of(2, 1.8))
    coverage, drift = monitor.coverage(), monitor.psi()
    assert coverage is not None
    assert drift is not None
    assert coverage["0.90"] < 0.6
    assert drift > 0.2


def test_too_few_scored_forecasts_give_no_figure() -> None:
    """One below the minimum gives no coverage and no PSI."""
    monitor = CalibrationMonitor()
    monitor.add([0.5] * (FORECASTS_MIN - 1))
    assert (monitor.coverage(), monitor.psi(), monitor.count()) == (None, None, FORECASTS_MIN - 1)


def test_the_page_lists_every_metric_and_every_figure() -> None:
    """docs/reference/metrics.md has the tables generated by the code."""
    page = METRICS_PAGE.read_text()
    assert metrics_table() in page
    assert figures_table() in page


def test_alerts_and_rules_ask_for_metrics_that_there_are() -> None:
    """Every `starloop_…` name in the rules of Prometheus that are shipped is a metric, or a part of a histogram."""
    known = {metric.name for metric in METRICS}
    rules = [*(ROOT / "deploy").rglob("*.yml"), *(ROOT / "deploy").rglob("*.yaml")]
    used = {name for path in rules for name in re.findall(r"\bstarloop_[a-z_]+", path.read_text())}
    recorded = {name for path in rules for name in re.findall(r"record:\s*(starloop_[a-z_]+)", path.read_text())}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in used - recorded} <= known
