"""Service dashboard: throughput, lag, latency, quarantine, outbox and model drift, by role and instance."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.models.dashboard import Dashboard

from operations.dashboards import layout
from operations.dashboards.influx_query import EVERY, InfluxQuery, series_query, table_query
from operations.dashboards.layout import Options, Panel
from operations.dashboards.panels import BAD, GOOD, THIRD, WARN, WHOLE, Column, Steps, table_panel, time_series_panel

THESE = '$timeFilter AND "role" =~ /^$role$/ AND "instance" =~ /^$instance$/'
TAGS = '"role", "instance"'
WHO = "$tag_role $tag_instance"
WAIT_S_MAX = 60.0
"""Service level objective: time from a reading to the decision that it causes, in seconds. The StarloopNeedsLate alert uses it too."""


def dashboard(options: Options) -> Dashboard:
    """The service dashboard."""
    tag_values = 'SHOW TAG VALUES FROM "service" WITH KEY = '
    role = layout.choice_variable("role", "Role", f'{tag_values}"role"')
    instance = layout.choice_variable("instance", "Instance", f'{tag_values}"instance" WHERE "role" =~ /^$role$/')
    about = "Throughput, lag, latency, quarantine, outbox and drift: the heartbeat of each role, every ten seconds."
    made = layout.new_dashboard(
        "service",
        "Starloop: service",
        about,
        [layout.datasource_variable(options), role, instance, layout.interval_variable()],
        "now-6h",
    )
    return layout.with_rows(
        made,
        ("Ingest", _ingest_panels()),
        ("Lag and latency", _lag_panels()),
        ("Output", _output_panels()),
        ("Model quality", _drift_panels()),
        ("Processes", _processes()),
    )


def _gauge(field: str, how: str = "max", name: str = "", ref: str = "A") -> InfluxQuery:
    """Values of a gauge, one series per instance."""
    query = f'SELECT {how}("{field}") FROM "service" WHERE {THESE} GROUP BY {EVERY}, {TAGS} fill(none)'
    return series_query(query, f"{WHO} {name}".strip(), ref)


def _rate(total: str, per: str = "1s") -> InfluxQuery:
    """Rate of a counter, which restarts at zero with its role."""
    query = f'SELECT non_negative_derivative(max("{total}"), {per}) FROM "service" WHERE {THESE} GROUP BY {EVERY}, {TAGS} fill(none)'
    return series_query(query, WHO)


def _lines(title: str, about: str, queries: Sequence[InfluxQuery], unit: str, steps: Steps = ()) -> Panel:
    return time_series_panel(title, about, queries, unit, span=THIRD, steps=steps)


def _ingest_panels() -> list[Panel]:
    queue = [_gauge("intake_waiting_bytes", name="waiting"), _gauge("intake_limit_bytes", name="limit", ref="B")]
    return [
        _lines(
            "Readings",
            "Readings ingested per second (mean per interval).",
            [_gauge("readings_per_s", "mean")],
            "short",
        ),
        _lines(
            "Messages",
            "Messages ingested per second (mean per interval).",
            [_gauge("messages_per_s", "mean")],
            "short",
        ),
        _lines("Connections", "MQTT connections of devices and operators.", [_gauge("connections", "last")], "short"),
        _lines(
            "Quarantined",
            "Messages per minute that could not be decoded; `starloop doctor` shows the latest reason.",
            [_rate("quarantined_total", "1m")],
            "short",
        ),
        _lines(
            "Ingest queue",
            "Bytes received and not yet in the log (maximum per interval), and the limit. Near the limit, back-pressure slows the "
            "devices down.",
            queue,
            "bytes",
        ),
        _lines(
            "Log append time",
            "99 % quantile of the time of an append to the log (maximum per interval).",
            [_gauge("log_append_ms_p99")],
            "ms",
        ),
    ]


def _lag_panels() -> list[Panel]:
    latency = "Time from the arrival of a tick's oldest reading until its facts are on disk for the reactor"
    return [
        _lines(
            "Analysis lag",
            "Input records that are not analysed yet.",
            [_gauge("stream_lag_records")],
            "short",
        ),
        _lines("Reactor lag", "Fact records without a decision yet.", [_gauge("reactor_lag_records")], "short"),
        _lines("InfluxDB lag", "Records that are not in InfluxDB yet.", [_gauge("influx_lag_records")], "short"),
        _lines(
            "Decision latency, median",
            f"{latency}: median. The objective is one minute.",
            [_gauge("decision_ms_p50")],
            "ms",
        ),
        _lines(
            "Decision latency, 99 %",
            f"{latency}: 99 % quantile. The dashed line is the objective of one minute.",
            [_gauge("decision_ms_p99")],
            "ms",
            ((None, "transparent"), (WAIT_S_MAX * 1000.0, BAD)),
        ),
        _lines(
            "Checkpoint age",
            "Time since the last checkpoint of the analysis: input of this duration is replayed after a crash.",
            [_gauge("checkpoint_age_s")],
            "s",
        ),
    ]


def _output_panels() -> list[Panel]:
    return [
        _lines("Decisions", "Decisions per minute.", [_rate("decisions_total", "1m")], "short"),
        _lines("Reactions", "Reactions per minute.", [_rate("reactions_total", "1m")], "short"),
        _lines("Outbox", "Reactions waiting for delivery.", [_gauge("outbox_waiting")], "short"),
        _lines("Oldest in the outbox", "Waiting time of the oldest of them.", [_gauge("outbox_oldest_s")], "s"),
        _lines(
            "Deliveries given up",
            "Deliveries abandoned since the role started, to a customer or a supplier; the console lists each one.",
            [_gauge("outbox_given_up")],
            "short",
            ((None, "transparent"), (1.0, BAD)),
        ),
    ]


def _drift_panels() -> list[Panel]:
    drift = (
        "Population stability index of the run-out model: distance of the recently scored quantile levels from a uniform "
        "distribution. Below 0.1: no drift. Above 0.25 (dashed): check the calibration dashboard and consider retraining."
    )
    return [_lines("Model drift", drift, [_gauge("drift_psi", "last")], "short", ((None, "transparent"), (0.25, WARN)))]


def _processes() -> list[Panel]:
    fields = {"uptime_s": ("Uptime", "s"), "rss_bytes": ("Memory", "bytes"), "cpu_s_total": ("CPU time", "s")}
    columns = ", ".join(f'last("{field}") AS "{field}"' for field in fields)
    shown = [Column(field, title, unit=unit) for field, (title, unit) in fields.items()]
    return [
        _lines("Memory", "Resident memory.", [_gauge("rss_bytes")], "bytes"),
        _lines("CPU", "CPU time used, in cores (1 is one full core).", [_rate("cpu_s_total")], "short"),
        _lines("Uptime", "Time since the process started.", [_gauge("uptime_s", "last")], "s", ((None, GOOD),)),
        table_panel(
            "Roles",
            "Instances of each role with a heartbeat in the time range, and the time of the latest one.",
            table_query(f'SELECT {columns} FROM "service" WHERE {THESE} GROUP BY {TAGS}'),
            [Column("role", "Role"), Column("instance", "Instance"), *shown, Column("Time")],
            span=WHOLE,
        ),
    ]
