"""The service itself: rates, lag, latency, quarantine, the outbox, the model's drift, by role and instance."""

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
"""A need is acted on within a minute of the reading that shows it."""


def dashboard(options: Options) -> Dashboard:
    """The dashboard of the service."""
    tag_values = 'SHOW TAG VALUES FROM "service" WITH KEY = '
    role = layout.choice_variable("role", "Role", f'{tag_values}"role"')
    instance = layout.choice_variable("instance", "Instance", f'{tag_values}"instance" WHERE "role" =~ /^$role$/')
    about = "Rates, lag, latency, quarantine, outbox, drift: what each role says of itself every ten seconds."
    made = layout.new_dashboard(
        "service",
        "Starloop: service",
        about,
        [layout.datasource_variable(options), role, instance, layout.interval_variable()],
        "now-6h",
    )
    return layout.with_rows(
        made,
        ("What comes in", _ingest_panels()),
        ("How far behind", _lag_panels()),
        ("What goes out", _output_panels()),
        ("Of which quality", _drift_panels()),
        ("The processes", _processes()),
    )


def _gauge(field: str, how: str = "max", name: str = "", ref: str = "A") -> InfluxQuery:
    """The values of a figure, one series for each instance."""
    query = f'SELECT {how}("{field}") FROM "service" WHERE {THESE} GROUP BY {EVERY}, {TAGS} fill(none)'
    return series_query(query, f"{WHO} {name}".strip(), ref)


def _rate(total: str, per: str = "1s") -> InfluxQuery:
    """How fast a total grows; it begins anew when its role does."""
    query = f'SELECT non_negative_derivative(max("{total}"), {per}) FROM "service" WHERE {THESE} GROUP BY {EVERY}, {TAGS} fill(none)'
    return series_query(query, WHO)


def _lines(title: str, about: str, queries: Sequence[InfluxQuery], unit: str, steps: Steps = ()) -> Panel:
    return time_series_panel(title, about, queries, unit, span=THIRD, steps=steps)


def _ingest_panels() -> list[Panel]:
    intake = [_gauge("intake_waiting_bytes", name="waiting"), _gauge("intake_limit_bytes", name="limit", ref="B")]
    return [
        _lines(
            "Readings",
            "Readings taken in a second (mean of the interval).",
            [_gauge("readings_per_s", "mean")],
            "short",
        ),
        _lines(
            "Messages",
            "Messages taken in a second (mean of the interval).",
            [_gauge("messages_per_s", "mean")],
            "short",
        ),
        _lines("Connections", "Devices and operators connected.", [_gauge("connections", "last")], "short"),
        _lines(
            "Quarantined",
            "Messages a minute that could not be read or represented; `starloop doctor` shows why.",
            [_rate("quarantined_total", "1m")],
            "short",
        ),
        _lines(
            "Intake",
            "What has come in and is not on the log yet, in bytes (largest of the interval), and its limit: near it, devices are "
            "slowed down rather than memory filled.",
            intake,
            "bytes",
        ),
        _lines(
            "Writing the log",
            "99 % of the writes to the log took at most so many milliseconds (largest of the interval).",
            [_gauge("log_append_ms_p99")],
            "ms",
        ),
    ]


def _lag_panels() -> list[Panel]:
    acted = "Milliseconds from the arrival of a tick's oldest reading until what it showed is on disk for the reactor"
    return [
        _lines(
            "Analysis behind",
            "Records of the input that are not analysed yet.",
            [_gauge("stream_lag_records")],
            "short",
        ),
        _lines(
            "Reactor behind", "Records of facts that are not decided on yet.", [_gauge("reactor_lag_records")], "short"
        ),
        _lines(
            "InfluxDB behind", "Records that are not written to InfluxDB yet.", [_gauge("influx_lag_records")], "short"
        ),
        _lines(
            "Time to a decision, median",
            f"{acted}: half took at most this. A need is to be acted on within a minute.",
            [_gauge("decision_ms_p50")],
            "ms",
        ),
        _lines(
            "Time to a decision, 99 %",
            f"{acted}: 99 % took at most this. The dashed line is the promised minute.",
            [_gauge("decision_ms_p99")],
            "ms",
            ((None, "transparent"), (WAIT_S_MAX * 1000.0, BAD)),
        ),
        _lines(
            "Checkpoint",
            "Seconds since the state of the analysis was last written down: so much is read again after a kill.",
            [_gauge("checkpoint_age_s")],
            "s",
        ),
    ]


def _output_panels() -> list[Panel]:
    return [
        _lines("Decisions", "Decisions a minute.", [_rate("decisions_total", "1m")], "short"),
        _lines("Reactions", "Reactions a minute.", [_rate("reactions_total", "1m")], "short"),
        _lines("Outbox", "Reactions that wait to be delivered.", [_gauge("outbox_waiting")], "short"),
        _lines("Oldest in the outbox", "Seconds that the oldest of them has waited.", [_gauge("outbox_oldest_s")], "s"),
        _lines(
            "Given up",
            "Deliveries given up since the role began: nobody was told, or no supplier; each is in the console.",
            [_gauge("outbox_given_up")],
            "short",
            ((None, "transparent"), (1.0, BAD)),
        ),
    ]


def _drift_panels() -> list[Panel]:
    drift = (
        "Population stability index: how far the run-out model's forecasts, lately judged, lie from the even spread that honest ones "
        "have. Under 0.1 nothing, over 0.25 (dashed) look at the dashboard of honesty and think of training."
    )
    return [_lines("Model drift", drift, [_gauge("drift_psi", "last")], "short", ((None, "transparent"), (0.25, WARN)))]


def _processes() -> list[Panel]:
    fields = {"uptime_s": ("Up for", "s"), "rss_bytes": ("Memory", "bytes"), "cpu_s_total": ("CPU time", "s")}
    columns = ", ".join(f'last("{field}") AS "{field}"' for field in fields)
    shown = [Column(field, title, unit=unit) for field, (title, unit) in fields.items()]
    return [
        _lines("Memory", "Resident memory.", [_gauge("rss_bytes")], "bytes"),
        _lines("CPU", "Processors' worth of CPU time used (1 is one core).", [_rate("cpu_s_total")], "short"),
        _lines("Up for", "Seconds since the process began.", [_gauge("uptime_s", "last")], "s", ((None, GOOD),)),
        table_panel(
            "Roles",
            "Each instance of each role that spoke in the time shown, and when it last did.",
            table_query(f'SELECT {columns} FROM "service" WHERE {THESE} GROUP BY {TAGS}'),
            [Column("role", "Role"), Column("instance", "Instance"), *shown, Column("Time")],
            span=WHOLE,
        ),
    ]
