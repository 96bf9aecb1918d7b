"""`starloop simulate`: a simulated neighbourhood that publishes to an MQTT broker, and responds to reactions."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from urllib.parse import unquote, urlsplit

import click

from config.fleet import Fleet
from config.toml.writer import to_toml
from runtime.clock import WallClock
from simulators.mqtt_player import BrokerAddress, NeighbourhoodPlayer, SimulatedTime
from simulators.neighbourhood.fault_profile import NO_FAULTS, ROUGH_FAULTS, FaultProfile
from simulators.neighbourhood.simulation import Neighbourhood
from star.errors import UsageError
from star.times import DAY_MS, parse_time_ms, utc

_FAULT_PROFILES = {"none": NO_FAULTS, "usual": FaultProfile(), "rough": ROUGH_FAULTS}
_SECOND_MS = 1000
_REPORT_EVERY_S = 5.0


@click.command()
@click.option(
    "--broker", "url", default="mqtt://127.0.0.1:1883", show_default=True, help="mqtt[s]://[user:password@]host[:port]."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Random seed.")
@click.option("--homes", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Number of homes.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    help="Simulated seconds per second.",
)
@click.option("--start", help="Simulated start time.  [default: early enough for --duration, or 30 days ago]")
@click.option(
    "--duration",
    "duration_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Real seconds to run.  [default: until stopped]",
)
@click.option(
    "--troubles",
    type=click.Choice(list(_FAULT_PROFILES)),
    default="usual",
    show_default=True,
    help="Faults of sensors and connections.",
)
@click.option(
    "--write-fleet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the fleet file for `starloop up --fleet`, and exit.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the totals as one JSON object.")
def command(
    url: str,
    seed: int,
    homes: int,
    speed: float,
    start: str | None,
    duration_s: float | None,
    troubles: str,
    write_fleet: Path | None,
    as_json: bool,
) -> None:
    """Simulate a neighbourhood of devices on an MQTT broker.

    Simulated time starts in the past and runs at --speed until it reaches the present, then continues in real time.
    """
    clock = WallClock()
    start_ms = _start_ms(start, clock.now_ms(), speed, duration_s)
    neighbourhood = Neighbourhood(seed, homes, start_ms=start_ms, faults=_FAULT_PROFILES[troubles])
    if write_fleet is not None:
        write_fleet.write_text(fleet_toml(neighbourhood.fleet), encoding="utf-8")
        click.echo(f"{write_fleet}: {len(neighbourhood.fleet.devices)} devices of {homes} homes", err=True)
        return
    player = NeighbourhoodPlayer(neighbourhood, parse_broker(url), f"starloop-simulate-{seed}")
    click.echo(
        f"simulating {len(neighbourhood.fleet.devices)} devices from {utc(start_ms):%Y-%m-%d %H:%M} UTC", err=True
    )
    try:
        _play(player, SimulatedTime(clock, start_ms, speed), duration_s)
    finally:
        player.close()
    totals = {"published": player.published, "reactions": player.reactions_received, "unreadable": player.unreadable}
    totals["simulated_until"] = neighbourhood.now_ms // _SECOND_MS
    click.echo(json.dumps(totals) if as_json else ", ".join(f"{name} {value}" for name, value in totals.items()))


def fleet_toml(fleet: Fleet) -> str:
    """Fleet file with the fleet, without default values."""
    return to_toml(fleet.model_dump(mode="json", exclude_defaults=True))


def parse_broker(url: str) -> BrokerAddress:
    """Parses `mqtt[s]://[user:password@]host[:port]`. Raises UsageError."""
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"--broker is {url!r}: expected a port from 1 to 65535") from None
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise UsageError(f"--broker is {url!r}: expected mqtt://host:port or mqtts://host:port")
    tls = parts.scheme == "mqtts"
    return BrokerAddress(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=tls,
    )


def _start_ms(start: str | None, now_ms: int, speed: float, duration_s: float | None) -> int:
    if start is not None:
        return parse_time_ms(float(start) if start.replace(".", "", 1).isdigit() else start, "--start")
    return now_ms - (30 * DAY_MS if duration_s is None else int(duration_s * speed * _SECOND_MS))


def _play(player: NeighbourhoodPlayer, simulated: SimulatedTime, duration_s: float | None) -> None:
    """Plays until SIGTERM, SIGINT or the end of the duration, and reports progress on a terminal."""
    stopped = False
    begun_s = reported_s = time.monotonic()

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    def stop() -> bool:
        return stopped or (duration_s is not None and time.monotonic() - begun_s >= duration_s)

    def report(at_ms: int) -> None:
        nonlocal reported_s
        if sys.stderr.isatty() and time.monotonic() - reported_s >= _REPORT_EVERY_S:
            reported_s = time.monotonic()
            click.echo(f"{utc(at_ms):%Y-%m-%d %H:%M} UTC, published {player.published}", err=True)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        player.play(simulated, stop, report)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
