"""`starloop up`: the whole service in one process, on its own MQTT endpoint, log and store."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from config.settings import Settings
from operations.observability.logging import configure_logging
from runtime.clock import WallClock
from runtime.data_dir import instance_name


@click.command()
@click.option("--fleet", "fleet_file", required=True, type=click.Path(path_type=Path), help="The fleet file.")
@click.option("--data", type=click.Path(path_type=Path), help="The data directory. [STARLOOP_DATA_DIR]")
@click.option("--mqtt-host", help="Where the MQTT endpoint listens. [STARLOOP_MQTT_HOST]")
@click.option("--mqtt-port", type=int, help="Its port; 0 takes a free one. [STARLOOP_MQTT_PORT]")
@click.option("--http-host", help="Where the console and HTTP API listen. [STARLOOP_HTTP_HOST]")
@click.option("--http-port", type=int, help="Their port; 0 takes a free one. [STARLOOP_HTTP_PORT]")
@click.option("--insecure", is_flag=True, default=None, help="Listen beyond loopback without credentials and TLS.")
def command(
    fleet_file: Path,
    data: Path | None,
    mqtt_host: str | None,
    mqtt_port: int | None,
    http_host: str | None,
    http_port: int | None,
    insecure: bool | None,
) -> None:
    """Runs the whole service in one process until it is told to stop (SIGTERM, or Ctrl-C).

    Prints one line when it is ready, with the ports and a one-time link to the console. All other settings come from the
    environment (docs/reference/settings.md).
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
    from starloop.service import run_service  # it loads Faust, which `starloop up --help` need not wait for

    asked = stop_event()
    async with run_service(settings, fleet_file, WallClock()) as (_, ready):
        click.echo(
            f"starloop is ready: mqtt {settings.mqtt_host}:{ready.mqtt_port},"
            f" http {settings.http_host}:{ready.http_port}, console {ready.link}"
        )
        await asked.wait()


def stop_event() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    return asked
