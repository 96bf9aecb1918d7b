"""Probes: registration of the metrics of each part, one function per part, called where a role is wired.

Parts of edge/ and stream/ are described by protocols of what is read, so that no role has to import parts that it does not run.
Queries to the log or store are callables that `Meters.run` polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from operations.observability.metrics import Meters, Value
from reactor.unit_of_work import StepResult

LAG_POLL_S = 15.0
"""Polling interval of consumer lag, in seconds: longer than others, as a poll opens a connection and reads all partitions."""
CountStep = Callable[[StepResult], None]
"""Counts the reactions and decisions of a committed step."""
QueryLag = Callable[[], Awaitable[Mapping[tuple[str, int], int]]]
"""Consumer lag in records by (topic, partition): `lambda: client.lag(group, topics)`."""


class MqttServerView(Protocol):
    """Attributes read from edge.mqtt_broker.server.BrokerServer."""

    refused: int

    def connections(self) -> int:
        """Number of open connections."""
        ...

    @property
    def limits(self) -> MqttLimitsView:
        """Configured limits."""
        ...

    @property
    def broker(self) -> MqttSessionsView:
        """The broker, which holds the sessions."""
        ...


class MqttLimitsView(Protocol):
    """Attributes read from edge.mqtt_broker.server.Limits."""

    @property
    def connections_max(self) -> int: ...
    @property
    def sessions_max(self) -> int: ...


class MqttSessionsView(Protocol):
    """Attributes read from edge.mqtt_broker.broker.Broker."""

    @property
    def sessions(self) -> Mapping[str, object]: ...


class DecoderCounts(Protocol):
    """Attributes read from edge.decoder.Decoder."""

    ingested: int
    quarantined: int


class IngestQueue(Protocol):
    """Attributes read from edge.ingest_service.IngestService."""

    waiting_bytes_max: int

    @property
    def decoder(self) -> DecoderCounts: ...

    def waiting(self) -> int:
        """Number of waiting messages."""
        ...


class SinkView(Protocol):
    """Attributes read from stream.sinks.influx_sink.InfluxSink."""

    def status(self) -> SinkStatusView:
        """Current status."""
        ...


class SinkStatusView(Protocol):
    """Attributes read from stream.sinks.options.InfluxStatus."""

    @property
    def reachable(self) -> bool | None: ...
    @property
    def behind_records(self) -> int: ...
    @property
    def written_points(self) -> int: ...
    @property
    def rejected_points(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxFigures:
    """Totals of the outbox: waiting deliveries, seconds since the oldest was due, deliveries given up."""

    waiting: int
    oldest_s: float
    given_up: int


def watch_gate(
    meters: Meters,
    gate: MqttServerView,
    ingest: IngestQueue,
    *,
    messages: Callable[[], int],
    waiting_bytes: Callable[[], int],
    waiting_messages_max: int,
) -> None:
    """MQTT endpoint, ingest queue, and `append_seconds`. messages: written so far. waiting_bytes: in the ingest queue."""
    meters.register_read("starloop_readings_total", lambda: ingest.decoder.ingested)
    meters.register_read("starloop_messages_total", messages)
    meters.register_read("starloop_quarantined_total", lambda: ingest.decoder.quarantined)
    meters.register_read("starloop_connections", gate.connections)
    meters.register_read("starloop_connections_limit", lambda: gate.limits.connections_max)
    meters.register_read("starloop_connections_refused_total", lambda: gate.refused)
    meters.register_read("starloop_sessions", lambda: len(gate.broker.sessions))
    meters.register_read("starloop_sessions_limit", lambda: gate.limits.sessions_max)
    meters.register_read("starloop_intake_waiting_bytes", waiting_bytes)
    meters.register_read("starloop_intake_limit_bytes", lambda: ingest.waiting_bytes_max)
    meters.register_read("starloop_intake_waiting_messages", ingest.waiting)
    meters.register_read("starloop_intake_limit_messages", lambda: waiting_messages_max)
    meters.show_histogram("starloop_log_append_seconds")


def watch_log(meters: Meters, problem: Callable[[], str | None]) -> None:
    """Availability of the log. problem: why it is unavailable, or None."""
    meters.register_read("starloop_log_reachable", lambda: 0.0 if problem() else 1.0)


def watch_embedded_log(meters: Meters, pending_bytes: Callable[[], int], limit_bytes: int) -> None:
    """Write queue of the embedded log."""
    meters.register_read("starloop_log_pending_bytes", pending_bytes)
    meters.register_read("starloop_log_pending_limit_bytes", lambda: limit_bytes)


def watch_stream(
    meters: Meters, *, lag: QueryLag | None = None, checkpoint_age_s: Callable[[], Mapping[int, float]] | None = None
) -> None:
    """Analysis, `decision_seconds`, and forecast calibration. checkpoint_age_s: seconds by partition."""
    if lag is not None:
        _watch_lag(meters, "starloop_stream_lag_records", lag)
    if checkpoint_age_s is not None:
        ages = checkpoint_age_s
        meters.register_read("starloop_checkpoint_age_seconds", lambda: _by_partition(ages()))
    meters.register_read("starloop_forecast_coverage", meters.calibration.coverage)
    meters.register_read("starloop_forecasts_judged", meters.calibration.count)
    meters.register_read("starloop_drift_psi", meters.calibration.psi)
    meters.show_histogram("starloop_decision_seconds")


def watch_reactor(meters: Meters, *, lag: QueryLag | None = None) -> CountStep:
    """Reactor and `commit_seconds`. Returns the function that counts a step, to be called when the step is committed."""
    if lag is not None:
        _watch_lag(meters, "starloop_reactor_lag_records", lag)
    meters.show_histogram("starloop_commit_seconds")

    def count_step(step: StepResult) -> None:
        for reaction in step.reactions:
            meters.increment("starloop_reactions_total", str(reaction.type))
        for decision in step.decisions:
            meters.increment("starloop_decisions_total", str(decision.verdict))

    return count_step


def watch_outbox(meters: Meters, figures: Callable[[], OutboxFigures]) -> None:
    """Outbox, availability of the store, and `send_seconds`. figures: may block, as it is called in a thread."""

    async def poll() -> Mapping[str, Value]:
        found = await asyncio.to_thread(figures)
        return {
            "starloop_outbox_waiting": found.waiting,
            "starloop_outbox_oldest_seconds": found.oldest_s,
            "starloop_outbox_given_up_total": found.given_up,
        }

    meters.register_poll(poll, reachable="starloop_store_reachable")
    meters.show_histogram("starloop_send_seconds")


def watch_sink(meters: Meters, sink: SinkView) -> None:
    """InfluxDB writer."""
    meters.register_read("starloop_influx_reachable", lambda: _flag(sink.status().reachable))
    meters.register_read("starloop_influx_behind_records", lambda: sink.status().behind_records)
    meters.register_read("starloop_influx_points_total", lambda: sink.status().written_points)
    meters.register_read("starloop_influx_rejected_total", lambda: sink.status().rejected_points)


def _watch_lag(meters: Meters, name: str, lag: QueryLag) -> None:
    async def poll() -> Mapping[str, Value]:
        return {name: lag_by_partition(await lag())}

    meters.register_poll(poll, every_s=LAG_POLL_S)


def lag_by_partition(lag: Mapping[tuple[str, int], int]) -> dict[str, float]:
    """Consumer lag by partition, summed over the topics."""
    found: dict[int, float] = {}
    for (_, partition), records in lag.items():
        found[partition] = found.get(partition, 0.0) + records
    return _by_partition(found)


def _by_partition(figures: Mapping[int, float]) -> dict[str, float]:
    return {str(partition): float(value) for partition, value in sorted(figures.items())}


def _flag(value: bool | None) -> float | None:
    return None if value is None else float(value)
