"""The instruments: metrics of one process in a registry of its own, read when Prometheus asks.

Parts of the service know nothing of it. Most figures are read from parts' plain attributes at the moment of a scrape (`pull`);
what takes a question to a database or a broker is asked for now and then by `run` (`poll`), so that a scrape never waits. Only
times are measured where they pass: `append_seconds.observe` and its like are handed to parts as callables.
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
"""Between the questions of `run`."""
POLL_TIMEOUT_S = 4.0
LOOP_LAG_SAMPLES = 12
"""How late the event loop was is the worst of so many rounds: a minute."""

Value = float | Mapping[str, float] | None
"""A figure, or figures by the metric's label; None: not known now, and then not said."""
ReadFigure = Callable[[], Value]
PollFigures = Callable[[], Awaitable[Mapping[str, Value]]]
"""Gives figures by metric's name."""
_log = structlog.get_logger("watching")
disable_created_metrics()  # type: ignore[no-untyped-call]  # when each histogram began is when the process did


@dataclass(slots=True)
class _Poll:
    """A question, and what it answered for last."""

    poll: PollFigures
    reachable: str | None
    every_s: float
    names: frozenset[str] = frozenset()
    polled_s: float = -math.inf


class Meters:
    """Metrics of one role in one process. A metric appears once something was said of where it comes from.

    role: as the commands call it, `up` for all in one. instance: tells processes of one role apart in the log's topic `service`.
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
        """The metric is what `read` gives at the time of asking; it must be quick, and no I/O. Raises KeyError for no metric."""
        self._reads[METRICS_BY_NAME[name].name] = read

    def register_poll(self, poll: PollFigures, reachable: str | None = None, every_s: float = POLL_S) -> None:
        """`run` asks about every `every_s`; figures of an ask that fails are not said until it works again.

        reachable: a metric that is 1 where the ask worked, and 0 where it failed.
        """
        self._polls.append(_Poll(poll, reachable, every_s))

    def increment(self, name: str, label: str = "", count: float = 1.0) -> None:
        """Counts."""
        found = self._counts.setdefault(METRICS_BY_NAME[name].name, {})
        found[label] = found.get(label, 0.0) + count

    def show_histogram(self, name: str) -> None:
        """Shows one of the histograms."""
        if name not in self._shown_histograms:
            self._shown_histograms[name] = self._histograms[name]
            self.registry.register(self._shown_histograms[name])

    def histogram(self, name: str) -> Histogram | None:
        """The histogram, where it is shown."""
        return self._shown_histograms.get(name)

    def value(self, name: str) -> Value:
        """What the metric (no histogram) says now; None where that is not known."""
        read = self._reads.get(name)
        if read is not None:
            try:
                return read()
            except Exception as error:  # noqa: BLE001 - one part's figure must not keep all others from being seen
                _log.warning("could_not_read_metric", metric=name, error=str(error))
                return None
        if name in self._counts:
            counts = self._counts[name]
            return counts[""] if set(counts) == {""} else dict(counts)
        return self._polled.get(name)

    async def run(self, every_s: float = POLL_S) -> None:
        """Asks what has to be asked for, until it is cancelled. every_s: between looks at what is due."""
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
        """Asks once; for tests, and for a first figure before the first scrape."""
        for one in self._polls:
            await self._run_poll(one)

    async def _run_poll(self, one: _Poll) -> None:
        for name in one.names:
            self._polled.pop(name, None)
        found: dict[str, Value] = {}
        works = False
        try:
            async with asyncio.timeout(POLL_TIMEOUT_S):
                found = dict(await one.poll())
            works = True
        except (StarloopError, OSError) as error:
            _log.debug("could_not_ask", metric=one.reachable or "", error=str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong with a figure, the service goes on
            _log.warning("could_not_ask", metric=one.reachable or "", error=f"{type(error).__name__}: {error}")
        if one.reachable is not None:
            found[one.reachable] = float(works)
        one.names = frozenset(found)
        self._polled.update(found)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _FigureCollector(Collector):
    """Everything but histograms, read from its place at every scrape."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: what there is shows when it is read."""
        return iter(())

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Prometheus' side of `Meters.value`."""
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
