"""Every metric of the service, named in one place; docs/reference/metrics.md is this table, and a test keeps it so.

Labels are bounded: partitions, kinds of reactions, promises. There is none for a device or a customer; those are in InfluxDB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricKind = Literal["counter", "gauge", "histogram"]

BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75),
    *(1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the histograms' buckets; finest around what is promised of decisions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric: its whole name, kind, what it says, its one label (or none), and which roles have it."""

    name: str
    kind: MetricKind
    help: str
    roles: str
    label: str = ""


def _metric(kind: MetricKind, roles: str, name: str, help: str, label: str = "") -> Metric:
    return Metric(name=f"starloop_{name}", kind=kind, help=help, roles=roles, label=label)


METRICS: tuple[Metric, ...] = (
    _metric("gauge", "all", "build_info", "1; the labels say which version runs, and as which role.", "version, role"),
    _metric("gauge", "all", "uptime_seconds", "Since this process began to be watched."),
    _metric("gauge", "all", "event_loop_late_seconds", "How late the event loop was at worst, lately."),
    _metric("counter", "gate", "readings_total", "Single values taken in, since the process began."),
    _metric("counter", "gate", "messages_total", "Messages and events kept in the log, ticks too."),
    _metric("counter", "gate", "quarantined_total", "Payloads that could not be read and were put aside."),
    _metric("gauge", "gate", "connections", "MQTT connections now."),
    _metric("gauge", "gate", "connections_limit", "MQTT connections at most (STARLOOP_CONNECTIONS_MAX)."),
    _metric("counter", "gate", "connections_refused_total", "Connections turned away because there were too many."),
    _metric("gauge", "gate", "sessions", "MQTT sessions held, connected or away."),
    _metric("gauge", "gate", "sessions_limit", "Persistent MQTT sessions at most (STARLOOP_SESSIONS_MAX)."),
    _metric("gauge", "gate", "intake_waiting_bytes", "Payloads that wait to be written to the log."),
    _metric(
        "gauge", "gate", "intake_limit_bytes", "Above this, connections are not read from (STARLOOP_INTAKE_BYTES_MAX)."
    ),
    _metric("gauge", "gate", "intake_waiting_messages", "Messages that wait to be written to the log."),
    _metric("gauge", "gate", "intake_limit_messages", "Above this, connections are not read from."),
    _metric("histogram", "gate", "log_append_seconds", "Time of one append to the log, durable at its end."),
    _metric("gauge", "all", "log_reachable", "1 while the log takes and gives records, 0 while it does not."),
    _metric("gauge", "up", "log_pending_bytes", "Handed to the embedded log and not yet on disk."),
    _metric("gauge", "up", "log_pending_limit_bytes", "Above this, appending waits."),
    _metric("gauge", "stream", "stream_lag_records", "Input records that the analysis has yet to commit.", "partition"),
    _metric("gauge", "stream", "checkpoint_age_seconds", "Since the state of a partition was last kept.", "partition"),
    _metric(
        "histogram",
        "stream",
        "decision_seconds",
        "From the arrival of a tick's oldest reading until its facts are on disk.",
    ),
    _metric("gauge", "stream", "forecast_coverage", "Share of judged forecasts that came true within it.", "promise"),
    _metric("gauge", "stream", "forecasts_judged", "Forecasts that coverage and drift rest on, the latest of them."),
    _metric("gauge", "stream", "drift_psi", "Population stability index of the levels at which forecasts came true."),
    _metric("gauge", "reactor", "reactor_lag_records", "Facts that the reactor has yet to commit.", "partition"),
    _metric("histogram", "reactor", "commit_seconds", "Time of one transaction of the reactor, durable at its end."),
    _metric("counter", "reactor", "reactions_total", "Reactions made.", "type"),
    _metric("counter", "reactor", "decisions_total", "Decisions made: a type of reaction, wait or refused.", "verdict"),
    _metric("gauge", "reactor", "store_reachable", "1 while the store answers, 0 while it does not."),
    _metric("gauge", "reactor", "outbox_waiting", "Deliveries that wait: to suppliers, people and the log."),
    _metric("gauge", "reactor", "outbox_oldest_seconds", "How long the oldest of them is due; 0 where none is."),
    _metric("counter", "reactor", "outbox_given_up_total", "Deliveries given up: a person must look at them."),
    _metric("histogram", "reactor", "send_seconds", "Time of one attempt to deliver, well or not."),
    _metric("gauge", "influx", "influx_reachable", "1 while InfluxDB takes points, 0 while it does not."),
    _metric("gauge", "influx", "influx_behind_records", "Records of the log that are not yet in InfluxDB."),
    _metric("counter", "influx", "influx_points_total", "Points that InfluxDB took."),
    _metric("counter", "influx", "influx_rejected_total", "Points that InfluxDB refused, put aside."),
)
METRICS_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}

PROCESS_METRICS = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
)
"""What prometheus_client says of the process, on Linux."""


def metrics_table() -> str:
    """The table of docs/reference/metrics.md."""
    lines = ["| metric | kind | labels | roles | what it says |", "| --- | --- | --- | --- | --- |"]
    for one in METRICS:
        lines.append(f"| `{one.name}` | {one.kind} | {one.label} | {one.roles} | {one.help} |")
    return "\n".join(lines)
