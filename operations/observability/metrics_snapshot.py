"""Heartbeat: a snapshot of the metrics as flat figures, appended to topic `service` every ten seconds.

InfluxDB stores them, so that the service can be monitored without Prometheus. Rates and quantiles cover the time since the
previous snapshot. Figures that the role does not have, or that are unknown, are omitted.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog
from prometheus_client import Histogram

from operations.observability.metrics import Meters, Value
from star.errors import StarloopError

HEARTBEAT_S = 10.0
"""Interval of heartbeats in seconds: resolution of the service dashboard against records in the log."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_log = structlog.get_logger("watching")

VALUE_FIGURES: dict[str, str] = {
    "quarantined_total": "starloop_quarantined_total",
    "connections": "starloop_connections",
    "intake_waiting_bytes": "starloop_intake_waiting_bytes",
    "intake_limit_bytes": "starloop_intake_limit_bytes",
    "stream_lag_records": "starloop_stream_lag_records",
    "reactor_lag_records": "starloop_reactor_lag_records",
    "influx_lag_records": "starloop_influx_behind_records",
    "checkpoint_age_s": "starloop_checkpoint_age_seconds",
    "outbox_waiting": "starloop_outbox_waiting",
    "outbox_oldest_s": "starloop_outbox_oldest_seconds",
    "outbox_given_up": "starloop_outbox_given_up_total",
    "reactions_total": "starloop_reactions_total",
    "decisions_total": "starloop_decisions_total",
    "drift_psi": "starloop_drift_psi",
    "uptime_s": "starloop_uptime_seconds",
}
"""Figures that are current values of a metric. Over partitions, lags are summed and MAX_FIGURES take the maximum."""
MAX_FIGURES = frozenset({"checkpoint_age_s"})
RATE_FIGURES = {"readings_per_s": "starloop_readings_total", "messages_per_s": "starloop_messages_total"}
COVERAGE_FIGURES = {"coverage_90": "0.90", "coverage_50": "0.50"}
QUANTILE_FIGURES: dict[str, tuple[str, float]] = {
    "log_append_ms_p99": ("starloop_log_append_seconds", 0.99),
    "decision_ms_p50": ("starloop_decision_seconds", 0.50),
    "decision_ms_p99": ("starloop_decision_seconds", 0.99),
}
PROCESS_FIGURES = ("rss_bytes", "cpu_s_total")
FIGURES = (*RATE_FIGURES, *VALUE_FIGURES, *QUANTILE_FIGURES, *COVERAGE_FIGURES, *PROCESS_FIGURES)
"""Every figure that a snapshot may contain."""

AppendRecord = Callable[[bytes], Awaitable[object]]
"""Appends a record to topic `service`."""


class Buckets(NamedTuple):
    """Cumulative histogram counts up to each bound, of which the last is infinite."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]


class SnapshotWindow:
    """Takes snapshots of the time since the previous one. since_s: start of the first window (monotonic); None: now."""

    def __init__(self, meters: Meters, *, since_s: float | None = None) -> None:
        self._meters = meters
        self._at_s = meters.monotonic() if since_s is None else since_s
        self._counters: dict[str, float] = {}
        self._buckets: dict[str, Buckets] = {}

    def take_snapshot(self) -> dict[str, float]:
        """The figures of the window, which ends now."""
        meters, now_s = self._meters, self._meters.monotonic()
        found: dict[str, float | None] = dict(self._rates(now_s))
        for figure, name in VALUE_FIGURES.items():
            found[figure] = _aggregate(meters.value(name), max if figure in MAX_FIGURES else sum)
        coverage = meters.value("starloop_forecast_coverage")
        for figure, promise in COVERAGE_FIGURES.items():
            found[figure] = coverage.get(promise) if isinstance(coverage, Mapping) else None
        found |= self._quantiles()
        found |= {"rss_bytes": rss_bytes(), "cpu_s_total": time.process_time()}
        self._at_s = now_s
        return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}

    def _rates(self, now_s: float) -> dict[str, float]:
        found: dict[str, float] = {}
        passed_s = now_s - self._at_s
        for figure, name in RATE_FIGURES.items():
            value = _aggregate(self._meters.value(name), sum)
            if value is None:
                continue
            if passed_s > 0.0:
                found[figure] = max(value - self._counters.get(name, 0.0), 0.0) / passed_s
            self._counters[name] = value
        return found

    def _quantiles(self) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        since: dict[str, Buckets] = {}
        for figure, (name, level) in QUANTILE_FIGURES.items():
            histogram = self._meters.histogram(name)
            if histogram is None:
                continue
            if name not in since:
                now = buckets_of(histogram)
                before = self._buckets.get(name)
                counts = now.counts if before is None else tuple(map(_subtract, now.counts, before.counts))
                self._buckets[name], since[name] = now, Buckets(now.bounds, counts)
            value = quantile(since[name], level)
            found[figure] = None if value is None else value * 1000.0
        return found


def snapshot_since_start(meters: Meters) -> dict[str, float]:
    """The figures since the process started, without a window."""
    return SnapshotWindow(meters, since_s=meters.started_s).take_snapshot()


class Heartbeat:
    """Appends a snapshot every `every_s` seconds. A failed append is dropped, because the next one is newer."""

    def __init__(
        self,
        meters: Meters,
        append: AppendRecord,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        every_s: float = HEARTBEAT_S,
    ) -> None:
        self._meters = meters
        self._append = append
        self._now_ms = now_ms
        self._every_s = every_s
        self._snapshots = SnapshotWindow(meters)

    async def run(self) -> None:
        """Sends heartbeats until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.send()

    async def send(self) -> None:
        """Sends one snapshot now."""
        try:
            await self._append(
                encode_heartbeat(
                    self._meters.role, self._meters.instance, self._now_ms(), self._snapshots.take_snapshot()
                )
            )
        except StarloopError as error:
            _log.debug("left_out_heartbeat", error=str(error))


def encode_heartbeat(role: str, instance: str, at_ms: int, fields: Mapping[str, float]) -> bytes:
    """The record for topic `service`."""
    return orjson.dumps({"at_ms": at_ms, "role": role, "instance": instance, "fields": dict(fields)})


def buckets_of(histogram: Histogram) -> Buckets:
    """Current counts of a histogram."""
    found = [
        (float(sample.labels["le"]), sample.value)
        for metric in histogram.collect()
        for sample in metric.samples
        if sample.name.endswith("_bucket")
    ]
    return Buckets(tuple(bound for bound, _ in found), tuple(count for _, count in found))


def quantile(buckets: Buckets, level: float) -> float | None:
    """Quantile of a histogram, by linear interpolation within the bucket; None if the histogram is empty.

    A quantile in the last bucket is given as its lower bound.
    """
    if not buckets.counts or buckets.counts[-1] <= 0.0:
        return None
    wanted = level * buckets.counts[-1]
    low, below = 0.0, 0.0
    for bound, count in zip(buckets.bounds, buckets.counts, strict=True):
        if count >= wanted:
            if math.isinf(bound):
                return low
            inside = count - below
            return bound if inside <= 0.0 else low + (bound - low) * (wanted - below) / inside
        low, below = bound, count
    return low


def rss_bytes() -> float | None:
    """Resident memory of the process in bytes; None if the system does not report it."""
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return _peak_bytes()


def _peak_bytes() -> float | None:
    try:
        import resource  # not available on every system
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def _aggregate(value: Value, fold: Callable[..., float]) -> float | None:
    if isinstance(value, Mapping):
        return fold(value.values()) if value else None
    return value


def _subtract(now: float, before: float) -> float:
    return now - before


def figures_table() -> str:
    """The figure table of docs/reference/metrics.md."""
    sources = {figure: f"`{name}` per second" for figure, name in RATE_FIGURES.items()}
    sources |= {figure: f"`{name}`" for figure, name in VALUE_FIGURES.items()}
    sources |= {figure: f"`{name}`, quantile {level:g}, in ms" for figure, (name, level) in QUANTILE_FIGURES.items()}
    sources |= {
        figure: f'`starloop_forecast_coverage{{promise="{promise}"}}`' for figure, promise in COVERAGE_FIGURES.items()
    }
    sources |= {"rss_bytes": "resident memory of the process", "cpu_s_total": "CPU time used by the process"}
    lines = ["| figure | from |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| `{figure}` | {sources[figure]} |" for figure in FIGURES)])
