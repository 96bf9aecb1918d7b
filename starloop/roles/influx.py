"""InfluxDB role: writes records of the log to InfluxDB; analysis and decisions do not depend on it."""

from __future__ import annotations

from config.profile_schema import RawReadingsMode
from operations.observability.probes import watch_sink
from star.errors import InputError
from starloop.roles.context import RoleContext
from stream.sinks.influx_sink import InfluxSink
from stream.sinks.options import InfluxOptions


def build_sink(context: RoleContext) -> InfluxSink:
    """The sink for the configured InfluxDB. Raises InputError if none is configured."""
    settings = context.settings
    if settings.influx_url is None:
        raise InputError(
            "STARLOOP_INFLUX_URL is not set: expected the address of InfluxDB, such as http://localhost:8086"
        )
    token = settings.influx_token
    sink = InfluxSink(
        context.log,
        InfluxOptions(
            url=settings.influx_url,
            org=settings.influx_org,
            bucket=settings.influx_bucket,
            token="" if token is None else token.get_secret_value(),
            token_file=settings.influx_token_file,
            readings=None if settings.influx_readings == "profile" else RawReadingsMode(settings.influx_readings),
            group=context.group_name("influx"),
        ),
        names=context.store.names,
        catalogue=lambda: context.fleet.current,
    )
    watch_sink(context.meters, sink)
    return sink


def sink_problem(sink: InfluxSink) -> str | None:
    """Why the sink can't write now; None if it can."""
    status = sink.status()
    return None if status.reachable is not False else status.last_error or "InfluxDB is unreachable"
