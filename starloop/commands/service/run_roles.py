"""Roles that need nothing but the log and the store: `starloop run stream|reactor|console|influx`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from config.settings import Settings
from operations.observability.logging import configure_logging
from runtime.data_dir import instance_name

if TYPE_CHECKING:
    from starloop.roles.single_role import RunRole

ROLES = {
    "stream": "The analysis: forecasts, needs and refills of its share of the partitions.",
    "reactor": "Decisions, and their way to suppliers and people.",
    "console": "The pages and the HTTP API.",
    "influx": "Writes to InfluxDB what the log tells.",
}


def role_commands() -> Iterator[click.Command]:
    """A command for each of ROLES."""
    for role, help_ in ROLES.items():
        yield click.Command(
            role,
            params=[
                click.Option(
                    ["--data"], type=click.Path(path_type=Path), help="A folder of its own. [STARLOOP_DATA_DIR]"
                ),
                *_role_options(role),
            ],
            callback=_callback(role),
            help=f"{help_} All else comes from the environment (docs/reference/settings.md).",
        )


def _role_options(role: str) -> list[click.Parameter]:
    if role == "console":
        return [
            click.Option(["--http-host"], help="Where it listens. [STARLOOP_HTTP_HOST]"),
            click.Option(["--http-port"], type=int, help="Its port; 0 takes a free one. [STARLOOP_HTTP_PORT]"),
            click.Option(["--insecure"], is_flag=True, default=None, help="Listen beyond loopback without TLS."),
        ]
    health = click.Option(["--health-port"], type=int, help="Of /healthz, /readyz, /metrics. [STARLOOP_HEALTH_PORT]")
    from_start = click.Option(["--from-start"], is_flag=True, help="Write all that the log has, from its beginning.")
    return [health, from_start] if role == "influx" else [health]


def _callback(role: str) -> Any:
    def run(data: Path | None, from_start: bool = False, **given: Any) -> None:
        start_role = getattr(role_module(), f"{role}_from_start" if from_start else role)
        run_role(role, start_role, data_dir=data, **given)

    return run


def role_module() -> ModuleType:
    """The module of the roles, loaded when one is run: it loads Faust, which `--help` need not wait for."""
    from starloop.roles import single_role

    return single_role


def run_role(role: str, start_role: RunRole, **given: Any) -> None:
    """Runs a role until it is told to stop; `given` are settings before those of the environment."""
    settings = Settings.read(**given)
    configure_logging(settings.log_level, settings.log_format, role=role, instance=instance_name(settings))
    asyncio.run(_run(settings, role, start_role))


async def _run(settings: Settings, role: str, start_role: RunRole) -> None:
    asked = asyncio.create_task(wait_for_stop())
    ready = asyncio.Event()
    serving = asyncio.create_task(_serve_role(settings, role, start_role, asked, ready))
    await asyncio.wait({asked, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not ready.is_set():
        serving.cancel()  # told to stop while it still waits for the log or the store, with nothing in its hands
    _, late = await asyncio.wait({serving}, timeout=settings.stop_s)
    if late:
        serving.cancel()
        await asyncio.wait({serving}, timeout=2.0)
    if serving.done() and not serving.cancelled():
        serving.result()


async def _serve_role(
    settings: Settings, role: str, start_role: RunRole, asked: asyncio.Task[None], ready: asyncio.Event
) -> None:
    async with role_module().run_single_role(settings, role, start_role) as line:
        ready.set()
        click.echo(line)
        await asked


async def wait_for_stop() -> None:
    """Waits for SIGTERM or SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await asked.wait()
