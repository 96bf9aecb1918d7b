"""Check of InfluxDB: reachable, and accepts the configured token, organisation and bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok
from stream.sinks.influx_writer import InfluxWriter, WriteStatus
from stream.sinks.options import InfluxOptions

CONNECT_S, TIMEOUT_S = 3.0, 5.0
"""Timeouts of the check in seconds: long enough for a server in another region, short enough for a person to wait."""


def influx_findings(settings: Settings) -> Iterator[Finding]:
    """One finding, or none if InfluxDB is not configured."""
    if settings.influx_url is None:
        return
    yield influx_finding(
        settings.influx_url, settings.influx_org, settings.influx_bucket, _token(settings), settings.influx_token_file
    )


def influx_finding(url: str, org: str, bucket: str, token: str, token_file: Path | None) -> Finding:
    """Sends an empty write, which the server checks like any other but for the points."""
    writer = InfluxWriter(
        InfluxOptions(
            url=url,
            org=org,
            bucket=bucket,
            token=token,
            token_file=token_file,
            connect_s=CONNECT_S,
            timeout_s=TIMEOUT_S,
        )
    )
    response = writer.write(b"")
    writer.close()
    if response.status is WriteStatus.WRITTEN:
        return ok("influxdb", f"{url} accepts points for bucket {bucket}")
    if response.status is WriteStatus.MISCONFIGURED:
        return fail("influxdb", response.message, "correct the setting named here; until then points wait in the log")
    return fail(
        "influxdb",
        response.message,
        "start InfluxDB, or correct STARLOOP_INFLUX_URL; until then points wait in the log",
    )


def _token(settings: Settings) -> str:
    return "" if settings.influx_token is None else settings.influx_token.get_secret_value()
