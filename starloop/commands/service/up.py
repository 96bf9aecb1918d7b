"""`starloop up`: the whole service in one process, with its own MQTT endpoint, log and store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from config.settings import Settings
from operations.observability.logging import configure_logging
from runtime.clock import WallClock
from runtime.data_dir import instance_name
from starloop.stop_signals import stop_event


@click.command()
@click.option("--fleet", "fleet_file", required=True, type=click.Path(path_type=Path), help="Fleet file.")
@click.option("--data", type=click.Path(path_type=Path), help="Data directory.  [default: STARLOOP_DATA_DIR]")
@click.option("--mqtt-host", help="MQTT address to listen on.  [default: STARLOOP_MQTT_HOST]")
@click.option("--mqtt-port", type=int, help="MQTT port; 0 for any free port.  [default: STARLOOP_MQTT_PORT]")
@click.option("--http-host", help="Address of the console and HTTP API.  [default: STARLOOP_HTTP_HOST]")
@click.option(
    "--http-port",
    type=int,
    help="Port of the console and HTTP API; 0 for any free port.  [default: STARLOOP_HTTP_PORT]",
)
@click.option(
    "--insecure", is_flag=True, default=None, help="Allow other addresses than loopback without credentials and TLS."
)
def command(
    fleet_file: Path,
    data: Path | None,
    mqtt_host: str | None,
    mqtt_port: int | None,
    http_host: str | None,
    http_port: int | None,
    insecure: bool | None,
) -> None:
    """Run the whole service in one process.

        It runs until SIGTERM or Ctrl-C. When it is ready, it prints one line with the ports and a one-time link to the console.
    Other settings come from the environment
        (docs/reference/settings.md).
    """
    settings = Settings.read(
        data_dir=data,
        mqtt_host=mqtt_host,
        mqtt_port=mqtt_port,
        http_host=http_host,
        http_port=http_port,
        insecure=insecure,
    )
    configure_logging(settings.log_level, settings.log_format, role="up", instance=instance_name(settings))
    asyncio.run(_up(settings, fleet_file))


async def _up(settings: Settings, fleet_file: Path) -> None:
    from starloop.service import run_service  # loads Faust, which would delay `starloop up --help`

    stopped = stop_event()
    async with run_service(settings, fleet_file, WallClock()) as (_, ready):
        click.echo(
            f"starloop is ready: mqtt {settings.mqtt_host}:{ready.mqtt_port},"
            f" http {settings.http_host}:{ready.http_port}, console {ready.link}"
        )
        await stopped.wait()
