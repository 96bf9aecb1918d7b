"""Instruments: the metrics of one process in a registry of its own.

The parts of the service do not know it. Most values are read from plain attributes at each scrape (`register_read`). Values that
need a database or broker query are polled by `run` (`register_poll`), so that a scrape never waits. Only durations are measured
in place, through histograms such as `append_seconds`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import structlog
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from operations.observability.metric_catalogue import BUCKETS_S, METRICS, METRICS_BY_NAME, Metric
from runtime.calibration_monitor import CalibrationMonitor
from star.errors import StarloopError

POLL_S = 5.0
"""Default polling interval of `run`, in seconds: freshness of values against load on log and store."""
POLL_TIMEOUT_S = 4.0
"""Shorter than POLL_S, so that polls do not overlap."""
LOOP_LAG_SAMPLES = 12
"""Samples of which the maximum event loop delay is exported: one minute at POLL_S."""

Value = float | Mapping[str, float] | None
"""A value, or values by label; None: unknown, and then not exported."""
ReadFigure = Callable[[], Value]
PollFigures = Callable[[], Awaitable[Mapping[str, Value]]]
"""Returns values by metric name."""
_log = structlog.get_logger("watching")
disable_created_metrics()  # type: ignore[no-untyped-call]  # histograms are created at process start


@dataclass(slots=True)
class _Poll:
    """A registered poll, with the metrics that it returned last."""

    poll: PollFigures
    reachable: str | None
    every_s: float
    names: frozenset[str] = frozenset()
    polled_s: float = -math.inf


class Meters:
    """Metrics of one role in one process. A metric is exported once its source is registered.

    role: as in `starloop run ROLE`, or `up` for all roles in one process. instance: distinguishes processes of the same role in the
    topic `service`.
    """

    def __init__(self, role: str, instance: str = "", *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.role = role
        self.instance = instance
        self.monotonic = monotonic
        self.started_s = monotonic()
        self.registry = CollectorRegistry()
        self.calibration = CalibrationMonitor()
        self._histograms = {metric.name: _histogram(metric.name) for metric in METRICS if metric.kind == "histogram"}
        self.append_seconds = self._histograms["starloop_log_append_seconds"]
        self.decision_seconds = self._histograms["starloop_decision_seconds"]
        self.commit_seconds = self._histograms["starloop_commit_seconds"]
        self.send_seconds = self._histograms["starloop_send_seconds"]
        self._reads: dict[str, ReadFigure] = {}
        self._polls: list[_Poll] = []
        self._polled: dict[str, Value] = {}
        self._counts: dict[str, dict[str, float]] = {}
        self._shown_histograms: dict[str, Histogram] = {}
        self._loop_lag_s: list[float] = []
        ProcessCollector(registry=self.registry)
        self.registry.register(_FigureCollector(self))
        self.register_read("starloop_uptime_seconds", lambda: monotonic() - self.started_s)
        self.register_read("starloop_event_loop_late_seconds", lambda: max(self._loop_lag_s, default=None))

    def register_read(self, name: str, read: ReadFigure) -> None:
        """Registers a source that is read at each scrape: quick and without I/O. Raises KeyError for an unknown metric."""
        self._reads[METRICS_BY_NAME[name].name] = read

    def register_poll(self, poll: PollFigures, reachable: str | None = None, every_s: float = POLL_S) -> None:
        """Registers a poll that `run` calls every `every_s` seconds. While it fails, its metrics are not exported.

        reachable: a metric that is 1 after a successful poll, and 0 after a failed one.
        """
        self._polls.append(_Poll(poll, reachable, every_s))

    def increment(self, name: str, label: str = "", count: float = 1.0) -> None:
        """Increments a counter."""
        found = self._counts.setdefault(METRICS_BY_NAME[name].name, {})
        found[label] = found.get(label, 0.0) + count

    def show_histogram(self, name: str) -> None:
        """Exports one of the histograms."""
        if name not in self._shown_histograms:
            self._shown_histograms[name] = self._histograms[name]
            self.registry.register(self._shown_histograms[name])

    def histogram(self, name: str) -> Histogram | None:
        """The histogram, or None if it is not exported."""
        return self._shown_histograms.get(name)

    def value(self, name: str) -> Value:
        """Current value of a metric other than a histogram; None if unknown."""
        read = self._reads.get(name)
        if read is not None:
            try:
                return read()
            except Exception as error:  # noqa: BLE001 - one failing source must not hide the other metrics
                _log.warning("could_not_read_metric", metric=name, error=str(error))
                return None
        if name in self._counts:
            counts = self._counts[name]
            return counts[""] if set(counts) == {""} else dict(counts)
        return self._polled.get(name)

    async def run(self, every_s: float = POLL_S) -> None:
        """Calls polls when they are due, until cancelled. every_s: interval between checks."""
        while True:
            now_s = self.monotonic()
            async with asyncio.TaskGroup() as group:
                for one in self._polls:
                    if now_s - one.polled_s >= one.every_s - every_s / 2:
                        one.polled_s = now_s
                        group.create_task(self._run_poll(one))
            due_s = self.monotonic() + every_s
            await asyncio.sleep(every_s)
            self._loop_lag_s = [*self._loop_lag_s, max(self.monotonic() - due_s, 0.0)][-LOOP_LAG_SAMPLES:]

    async def poll_once(self) -> None:
        """Calls every poll once: for tests, and for values before the first scrape."""
        for one in self._polls:
            await self._run_poll(one)

    async def _run_poll(self, one: _Poll) -> None:
        for name in one.names:
            self._polled.pop(name, None)
        found: dict[str, Value] = {}
        succeeded = False
        try:
            async with asyncio.timeout(POLL_TIMEOUT_S):
                found = dict(await one.poll())
            succeeded = True
        except (StarloopError, OSError) as error:
            _log.debug("could_not_ask", metric=one.reachable or "", error=str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - a failing poll must not end the service
            _log.warning("could_not_ask", metric=one.reachable or "", error=f"{type(error).__name__}: {error}")
        if one.reachable is not None:
            found[one.reachable] = float(succeeded)
        one.names = frozenset(found)
        self._polled.update(found)

    def exposition(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)


class _FigureCollector(Collector):
    """Collector of all metrics but histograms, read at every scrape."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """No descriptions: which metrics exist is known when they are read."""
        return iter(())

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Metric families from `Meters.value`."""
        yield _build_info(self._meters.role)
        for metric in METRICS:
            if metric.kind == "histogram" or metric.name == "starloop_build_info":
                continue
            value = self._meters.value(metric.name)
            if value is not None:
                yield _family(metric, value)


def _family(metric: Metric, value: float | Mapping[str, float]) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    labels = [metric.label] if metric.label else []
    family = kind(metric.name, metric.help, labels=labels)
    if isinstance(value, Mapping):
        for label in sorted(value):
            family.add_metric([label] if labels else [], value[label])
    else:
        family.add_metric([""] if labels else [], value)
    return family


def _build_info(role: str) -> GaugeMetricFamily:
    metric = METRICS_BY_NAME["starloop_build_info"]
    family = GaugeMetricFamily(metric.name, metric.help, labels=[name.strip() for name in metric.label.split(",")])
    family.add_metric([starloop_version(), role], 1.0)
    return family


def _histogram(name: str) -> Histogram:
    return Histogram(name, METRICS_BY_NAME[name].help, registry=None, buckets=BUCKETS_S)


def starloop_version() -> str:
    """The installed version; `unknown` in a checkout that is not installed."""
    try:
        return version("starloop")
    except PackageNotFoundError:
        return "unknown"
