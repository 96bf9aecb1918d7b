"""InfluxDB: reached, and whether it would take points with the token, organisation and bucket that are set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok
from stream.sinks.influx_writer import InfluxWriter, WriteStatus
from stream.sinks.options import InfluxOptions

CONNECT_S, TIMEOUT_S = 3.0, 5.0


def influx_findings(settings: Settings) -> Iterator[Finding]:
    """One; nothing where no InfluxDB is set."""
    if settings.influx_url is None:
        return
    yield influx_finding(
        settings.influx_url, settings.influx_org, settings.influx_bucket, _token(settings), settings.influx_token_file
    )


def influx_finding(url: str, org: str, bucket: str, token: str, token_file: Path | None) -> Finding:
    """Asks by writing nothing: the server checks all but the points."""
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
        return ok("influxdb", f"{url} takes points for bucket {bucket}")
    if response.status is WriteStatus.MISCONFIGURED:
        return fail("influxdb", response.message, "set it right as said; until then points wait in the log")
    return fail(
        "influxdb", response.message, "start it, or correct STARLOOP_INFLUX_URL; until then points wait in the log"
    )


def _token(settings: Settings) -> str:
    return "" if settings.influx_token is None else settings.influx_token.get_secret_value()
