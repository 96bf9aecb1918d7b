"""The role that writes to InfluxDB what the log tells, beside the loop."""

from __future__ import annotations

from config.profiles import RawReadings
from star.errors import InputError
from starloop.roles.base import Base
from starloop.watching.probes import watch_sink
from stream.sinks.influx import InfluxSink
from stream.sinks.options import InfluxOptions


def sink_of(base: Base) -> InfluxSink:
    """The sink that the settings tell of. Raises InputError where they name no server."""
    settings = base.settings
    if settings.influx_url is None:
        raise InputError(
            "STARLOOP_INFLUX_URL is not set: expected the address of InfluxDB, such as http://localhost:8086"
        )
    token = settings.influx_token
    sink = InfluxSink(
        base.log,
        InfluxOptions(
            url=settings.influx_url,
            org=settings.influx_org,
            bucket=settings.influx_bucket,
            token="" if token is None else token.get_secret_value(),
            token_file=settings.influx_token_file,
            readings=None if settings.influx_readings == "profile" else RawReadings(settings.influx_readings),
            group=base.group_name("influx"),
        ),
        names=base.store.names,
        catalogue=lambda: base.fleet.current,
    )
    watch_sink(base.meters, sink)
    return sink


def why_not(sink: InfluxSink) -> str | None:
    """Why the sink does not write now."""
    status = sink.status()
    return None if status.reachable is not False else status.last_error or "InfluxDB can't be reached"
