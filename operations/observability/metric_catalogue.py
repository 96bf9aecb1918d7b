"""Catalogue of all metrics of the service; docs/reference/metrics.md contains the same table, which a test checks.

Label values are bounded: partitions, reaction types, nominal coverages. There is no label for a device or customer, which would
grow without limit: figures per customer are in InfluxDB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricKind = Literal["counter", "gauge", "histogram"]

BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75),
    *(1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the histogram buckets in seconds; the last one is the objective of one minute for a decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric: full name, kind, help text, label (or none), and the roles that export it."""

    name: str
    kind: MetricKind
    help: str
    roles: str
    label: str = ""


def _metric(kind: MetricKind, roles: str, name: str, help: str, label: str = "") -> Metric:
    return Metric(name=f"starloop_{name}", kind=kind, help=help, roles=roles, label=label)


METRICS: tuple[Metric, ...] = (
    _metric("gauge", "all", "build_info", "Always 1; the labels are the running version and role.", "version, role"),
    _metric("gauge", "all", "uptime_seconds", "Time since the process started."),
    _metric("gauge", "all", "event_loop_late_seconds", "Maximum delay of the event loop within the last minute."),
    _metric("counter", "gate", "readings_total", "Readings (single values) ingested since the process started."),
    _metric("counter", "gate", "messages_total", "Messages and events written to the log, ticks included."),
    _metric("counter", "gate", "quarantined_total", "Payloads that could not be decoded and were quarantined."),
    _metric("gauge", "gate", "connections", "Current MQTT connections."),
    _metric("gauge", "gate", "connections_limit", "Limit of MQTT connections (STARLOOP_CONNECTIONS_MAX)."),
    _metric("counter", "gate", "connections_refused_total", "Connections refused because of the limit."),
    _metric("gauge", "gate", "sessions", "MQTT sessions, connected or not."),
    _metric("gauge", "gate", "sessions_limit", "Limit of persistent MQTT sessions (STARLOOP_SESSIONS_MAX)."),
    _metric("gauge", "gate", "intake_waiting_bytes", "Bytes of payloads waiting to be written to the log."),
    _metric(
        "gauge", "gate", "intake_limit_bytes", "Above this limit, connections are not read (STARLOOP_INTAKE_BYTES_MAX)."
    ),
    _metric("gauge", "gate", "intake_waiting_messages", "Messages waiting to be written to the log."),
    _metric("gauge", "gate", "intake_limit_messages", "Above this limit, connections are not read."),
    _metric("histogram", "gate", "log_append_seconds", "Duration of one durable append to the log."),
    _metric("gauge", "all", "log_reachable", "1 while the log is available, 0 while it is not."),
    _metric("gauge", "up", "log_pending_bytes", "Bytes passed to the embedded log and not yet on disk."),
    _metric("gauge", "up", "log_pending_limit_bytes", "Above this limit, appends wait."),
    _metric("gauge", "stream", "stream_lag_records", "Input records not yet committed by the analysis.", "partition"),
    _metric("gauge", "stream", "checkpoint_age_seconds", "Time since the last checkpoint of a partition.", "partition"),
    _metric(
        "histogram",
        "stream",
        "decision_seconds",
        "Time from the arrival of a tick's oldest reading until its facts are on disk.",
    ),
    _metric(
        "gauge",
        "stream",
        "forecast_coverage",
        "Share of scored forecasts whose actual run-out fell within the interval of this nominal coverage.",
        "promise",
    ),
    _metric(
        "gauge", "stream", "forecasts_judged", "Number of recent forecasts that coverage and drift are computed from."
    ),
    _metric("gauge", "stream", "drift_psi", "Population stability index of the quantile levels of actual run-outs."),
    _metric("gauge", "reactor", "reactor_lag_records", "Fact records not yet committed by the reactor.", "partition"),
    _metric("histogram", "reactor", "commit_seconds", "Duration of one durable transaction of the reactor."),
    _metric("counter", "reactor", "reactions_total", "Reactions created.", "type"),
    _metric(
        "counter", "reactor", "decisions_total", "Decisions, by verdict: a reaction type, wait or refused.", "verdict"
    ),
    _metric("gauge", "reactor", "store_reachable", "1 while the store is available, 0 while it is not."),
    _metric("gauge", "reactor", "outbox_waiting", "Deliveries waiting: to suppliers, customers and the log."),
    _metric("gauge", "reactor", "outbox_oldest_seconds", "Time since the oldest of them was due; 0 if there is none."),
    _metric("counter", "reactor", "outbox_given_up_total", "Deliveries given up, which need a person's attention."),
    _metric("histogram", "reactor", "send_seconds", "Duration of one delivery attempt, successful or not."),
    _metric("gauge", "influx", "influx_reachable", "1 while InfluxDB accepts points, 0 while it does not."),
    _metric("gauge", "influx", "influx_behind_records", "Log records not yet written to InfluxDB."),
    _metric("counter", "influx", "influx_points_total", "Points written to InfluxDB."),
    _metric("counter", "influx", "influx_rejected_total", "Points rejected by InfluxDB and quarantined."),
)
METRICS_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}


def metrics_table() -> str:
    """The metric table of docs/reference/metrics.md."""
    lines = ["| metric | kind | labels | roles | meaning |", "| --- | --- | --- | --- | --- |"]
    for one in METRICS:
        lines.append(f"| `{one.name}` | {one.kind} | {one.label} | {one.roles} | {one.help} |")
    return "\n".join(lines)
