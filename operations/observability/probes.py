"""What is read from which part: one function a part, each called once where a role is wired.

Parts are described by what is read of them, so that nothing here imports them. Questions to the log or the store are callables;
`Meters.run` asks them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from operations.observability.metrics import Meters, Value
from star.react import Decision, Reaction

LAG_POLL_S = 15.0
"""Between questions to the log: each is a connection, and an answer for every partition."""
QueryLag = Callable[[], Awaitable[Mapping[tuple[str, int], int]]]
"""Records behind by (topic, partition): `lambda: client.lag(group, topics)`."""


class MqttServerView(Protocol):
    """What is read of edge.mqtt_broker.server.GateServer."""

    refused: int

    def connections(self) -> int:
        """How many there are."""
        ...

    @property
    def limits(self) -> MqttLimitsView:
        """What is set."""
        ...

    @property
    def broker(self) -> MqttSessionsView:
        """Where the sessions are."""
        ...


class MqttLimitsView(Protocol):
    """What is read of edge.mqtt_broker.limits.Limits."""

    @property
    def connections_max(self) -> int: ...
    @property
    def sessions_max(self) -> int: ...


class MqttSessionsView(Protocol):
    """What is read of edge.mqtt_broker.broker.Hub."""

    @property
    def sessions(self) -> Mapping[str, object]: ...


class DecoderCounts(Protocol):
    """What is read of edge.decoder.Intake."""

    ingested: int
    quarantined: int


class IngestQueue(Protocol):
    """What is read of edge.ingest_service.Inlet."""

    waiting_bytes_max: int

    @property
    def decoder(self) -> DecoderCounts: ...

    def waiting(self) -> int:
        """Messages that wait."""
        ...


class SinkView(Protocol):
    """What is read of stream.sinks.influx.InfluxSink."""

    def status(self) -> SinkStatusView:
        """How it is doing."""
        ...


class SinkStatusView(Protocol):
    """What is read of stream.sinks.options.InfluxStatus."""

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
    """The outbox as a whole: deliveries that wait, for how long the oldest is due, how many were given up."""

    waiting: int
    oldest_s: float
    given_up: int


def watch_gate(
    meters: Meters,
    gate: MqttServerView,
    inlet: IngestQueue,
    *,
    messages: Callable[[], int],
    waiting_bytes: Callable[[], int],
    waiting_messages_max: int,
) -> None:
    """The MQTT endpoint, its intake, and `meters.append_seconds`. messages: kept so far; waiting_bytes: of what waits."""
    meters.register_read("starloop_readings_total", lambda: inlet.decoder.ingested)
    meters.register_read("starloop_messages_total", messages)
    meters.register_read("starloop_quarantined_total", lambda: inlet.decoder.quarantined)
    meters.register_read("starloop_connections", gate.connections)
    meters.register_read("starloop_connections_limit", lambda: gate.limits.connections_max)
    meters.register_read("starloop_connections_refused_total", lambda: gate.refused)
    meters.register_read("starloop_sessions", lambda: len(gate.broker.sessions))
    meters.register_read("starloop_sessions_limit", lambda: gate.limits.sessions_max)
    meters.register_read("starloop_intake_waiting_bytes", waiting_bytes)
    meters.register_read("starloop_intake_limit_bytes", lambda: inlet.waiting_bytes_max)
    meters.register_read("starloop_intake_waiting_messages", inlet.waiting)
    meters.register_read("starloop_intake_limit_messages", lambda: waiting_messages_max)
    meters.show_histogram("starloop_log_append_seconds")


def watch_log(meters: Meters, trouble: Callable[[], str | None]) -> None:
    """Whether the log does its work. trouble: why it does not, or None."""
    meters.register_read("starloop_log_reachable", lambda: 0.0 if trouble() else 1.0)


def watch_embedded_log(meters: Meters, pending_bytes: Callable[[], int], limit_bytes: int) -> None:
    """The queue of the embedded log's writer."""
    meters.register_read("starloop_log_pending_bytes", pending_bytes)
    meters.register_read("starloop_log_pending_limit_bytes", lambda: limit_bytes)


def watch_stream(
    meters: Meters, *, lag: QueryLag | None = None, checkpoint_age_s: Callable[[], Mapping[int, float]] | None = None
) -> None:
    """The analysis, `meters.decision_seconds`, and what `meters.honesty.judged` was told. checkpoint_age_s: by partition."""
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
    """The reactor, and `meters.commit_seconds`. Gives what counts a step: call it once each step is committed."""
    if lag is not None:
        _watch_lag(meters, "starloop_reactor_lag_records", lag)
    meters.show_histogram("starloop_commit_seconds")

    def stepped(step: CountedStep) -> None:
        for reaction in step.reactions:
            meters.increment("starloop_reactions_total", str(reaction.type))
        for decision in step.decisions:
            meters.increment("starloop_decisions_total", str(decision.verdict))

    return stepped


def watch_outbox(meters: Meters, figures: Callable[[], OutboxFigures]) -> None:
    """The outbox, whether the store answers, and `meters.send_seconds`. figures: may block, it is called in a thread."""

    async def ask() -> Mapping[str, Value]:
        found = await asyncio.to_thread(figures)
        return {
            "starloop_outbox_waiting": found.waiting,
            "starloop_outbox_oldest_seconds": found.oldest_s,
            "starloop_outbox_given_up_total": found.given_up,
        }

    meters.register_poll(ask, reachable="starloop_store_reachable")
    meters.show_histogram("starloop_send_seconds")


def watch_sink(meters: Meters, sink: SinkView) -> None:
    """The way to InfluxDB."""
    meters.register_read("starloop_influx_reachable", lambda: _flag(sink.status().reachable))
    meters.register_read("starloop_influx_behind_records", lambda: sink.status().behind_records)
    meters.register_read("starloop_influx_points_total", lambda: sink.status().written_points)
    meters.register_read("starloop_influx_rejected_total", lambda: sink.status().rejected_points)


class CountedStep(Protocol):
    """What is read of reactor.unit_of_work.Step."""

    @property
    def reactions(self) -> Sequence[Reaction]: ...
    @property
    def decisions(self) -> Sequence[Decision]: ...


CountStep = Callable[[CountedStep], None]


def _watch_lag(meters: Meters, name: str, lag: QueryLag) -> None:
    async def ask() -> Mapping[str, Value]:
        return {name: lag_by_partition(await lag())}

    meters.register_poll(ask, every_s=LAG_POLL_S)


def lag_by_partition(lag: Mapping[tuple[str, int], int]) -> dict[str, float]:
    """Records behind by partition, over the topics."""
    found: dict[int, float] = {}
    for (_, partition), records in lag.items():
        found[partition] = found.get(partition, 0.0) + records
    return _by_partition(found)


def _by_partition(figures: Mapping[int, float]) -> dict[str, float]:
    return {str(partition): float(value) for partition, value in sorted(figures.items())}


def _flag(value: bool | None) -> float | None:
    return None if value is None else float(value)
