"""`starloop demo`: the service with a simulated neighbourhood in accelerated time."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

import click

from config.settings import Settings
from operations.observability.logging import configure_logging
from runtime.clock import AcceleratedClock, WallClock
from starloop.commands.service.simulate import fleet_toml
from starloop.stop_signals import stop_event

HISTORY_DAYS = 45.0
HISTORY_S = 25.0
"""Simulated history in days, played in this many real seconds, so that there is data to show; then time runs at --speed."""
_DAY_S = 86_400.0


@click.command()
@click.option("--homes", type=click.IntRange(1, 200), default=12, show_default=True, help="Number of homes.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Random seed.")
@click.option(
    "--speed", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Simulated seconds per second."
)
@click.option("--data", type=click.Path(path_type=Path), help="Data directory.  [default: temporary]")
@click.option("--mqtt-port", type=int, default=1883, show_default=True, help="MQTT port, or the next free one.")
@click.option("--http-port", type=int, default=8080, show_default=True, help="Console port, or the next free one.")
@click.option(
    "--duration", "duration_s", type=click.FloatRange(min=1), help="Real seconds to run.  [default: until Ctrl-C]"
)
def command(
    homes: int, seed: int, speed: float, data: Path | None, mqtt_port: int, http_port: int, duration_s: float | None
) -> None:
    """Run the service with simulated homes in accelerated time.

    Simulated devices publish over MQTT like real ones; suppliers deliver; customers respond, buy elsewhere and change their minds.
    Open the printed link to see the console.
    """
    configure_logging("warning", "auto")
    with contextlib.ExitStack() as stack:
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="starloop-demo-")))
        asyncio.run(_demo(homes, seed, speed, folder, mqtt_port, http_port, duration_s))


async def _demo(
    homes: int, seed: int, speed: float, folder: Path, mqtt_port: int, http_port: int, duration_s: float | None
) -> None:
    from simulators.mqtt_player import BrokerAddress, NeighbourhoodPlayer
    from simulators.neighbourhood.simulation import Neighbourhood
    from starloop.service import run_service

    stopped = stop_event()
    start_ms = WallClock().now_ms() - round(HISTORY_DAYS * _DAY_S * 1000)
    neighbourhood = Neighbourhood(seed, homes, start_ms=start_ms)
    fleet_file = _write_fleet_file(folder, fleet_toml(neighbourhood.fleet))
    settings = Settings.read(
        data_dir=folder / "data", mqtt_port=mqtt_port, http_port=http_port, checkpoint_s=_DAY_S, tick_idle_ms=500
    )
    clock = AcceleratedClock(start_ms, [(HISTORY_S, HISTORY_DAYS * _DAY_S / HISTORY_S), (1.0, speed)])
    async with run_service(settings, fleet_file, clock, free_ports=True) as (_, ready):
        if (ready.mqtt_port, ready.http_port) != (mqtt_port, http_port):
            click.echo(f"a port is in use: using {ready.mqtt_port} for MQTT and {ready.http_port} for the console")
        click.echo(
            f"{homes} homes, {len(neighbourhood.fleet.devices)} devices; {HISTORY_DAYS:.0f} days pass in"
            f" {HISTORY_S:.0f} s, then {speed / 3600:g} h a second"
        )
        click.echo(f"starloop is ready: console {ready.link}")
        click.echo("stop with Ctrl-C")
        player = await asyncio.to_thread(
            NeighbourhoodPlayer, neighbourhood, BrokerAddress(host="127.0.0.1", port=ready.mqtt_port), "neighbourhood"
        )
        playing = asyncio.create_task(asyncio.to_thread(player.play, clock, stopped.is_set, lambda _: None))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(duration_s):
                    await asyncio.wait(
                        [playing, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED
                    )
        finally:
            stopped.set()
        await playing
        await asyncio.to_thread(player.close)


def _write_fleet_file(folder: Path, fleet: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "neighbourhood.toml"
    path.write_text(fleet, encoding="utf-8")
    return path
