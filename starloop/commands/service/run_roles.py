"""Roles that need only the log and the store: `starloop run stream|reactor|console|influx`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from config.settings import Settings
from operations.observability.logging import configure_logging
from runtime.data_dir import instance_name
from starloop.stop_signals import wait_for_stop

if TYPE_CHECKING:
    from starloop.roles.single_role import RunRole

ROLES = {
    "stream": "Run the analysis: forecasts, needs and refills of its share of the partitions.",
    "reactor": "Run decisions, and deliveries to suppliers and customers.",
    "console": "Run the web console and the HTTP API.",
    "influx": "Write readings, forecasts and reactions of the log to InfluxDB.",
}


def role_commands() -> Iterator[click.Command]:
    """The commands of ROLES."""
    for role, help_ in ROLES.items():
        yield click.Command(
            role,
            params=[
                click.Option(
                    ["--data"],
                    type=click.Path(path_type=Path),
                    help="Data directory of this process.  [default: STARLOOP_DATA_DIR]",
                ),
                *_role_options(role),
            ],
            callback=_callback(role),
            help=f"{help_}\n\nOther settings come from the environment (docs/reference/settings.md).",
        )


def _role_options(role: str) -> list[click.Parameter]:
    if role == "console":
        return [
            click.Option(["--http-host"], help="Address to listen on.  [default: STARLOOP_HTTP_HOST]"),
            click.Option(["--http-port"], type=int, help="Port; 0 for any free port.  [default: STARLOOP_HTTP_PORT]"),
            click.Option(
                ["--insecure"], is_flag=True, default=None, help="Allow other addresses than loopback without TLS."
            ),
        ]
    health = click.Option(
        ["--health-port"], type=int, help="Port of /healthz, /readyz and /metrics.  [default: STARLOOP_HEALTH_PORT]"
    )
    from_start = click.Option(["--from-start"], is_flag=True, help="Write all records from the start of the log.")
    return [health, from_start] if role == "influx" else [health]


def _callback(role: str) -> Any:
    def run(data: Path | None, from_start: bool = False, **given: Any) -> None:
        start_role = getattr(role_module(), f"{role}_from_start" if from_start else role)
        run_role(role, start_role, data_dir=data, **given)

    return run


def role_module() -> ModuleType:
    """The module of the roles, imported on use: it loads Faust, which would delay `--help`."""
    from starloop.roles import single_role

    return single_role


def run_role(role: str, start_role: RunRole, **given: Any) -> None:
    """Runs a role until SIGTERM or SIGINT. given: settings that override the environment."""
    settings = Settings.read(**given)
    configure_logging(settings.log_level, settings.log_format, role=role, instance=instance_name(settings))
    asyncio.run(_run(settings, role, start_role))


async def _run(settings: Settings, role: str, start_role: RunRole) -> None:
    stop = asyncio.create_task(wait_for_stop())
    ready = asyncio.Event()
    serving = asyncio.create_task(_serve_role(settings, role, start_role, stop, ready))
    await asyncio.wait({stop, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.is_set():
        serving.cancel()  # stopped while waiting for the log or store, with no work in progress
    _, late = await asyncio.wait({serving}, timeout=settings.stop_s)
    if late:
        serving.cancel()
        await asyncio.wait({serving}, timeout=2.0)
    if serving.done() and not serving.cancelled():
        serving.result()


async def _serve_role(
    settings: Settings, role: str, start_role: RunRole, stop: asyncio.Task[None], ready: asyncio.Event
) -> None:
    async with role_module().run_single_role(settings, role, start_role) as line:
        ready.set()
        click.echo(line)
        await stop
