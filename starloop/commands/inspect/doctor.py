"""`starloop doctor`: diagnoses an installation, with a remedy for each problem. It changes nothing.

The exit status is 1 if a check fails, and 0 for warnings. It can run beside the service, as the service's user.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import click

from config.settings import Settings
from operations.diagnostics.data import data_findings, running_service_or_none
from operations.diagnostics.finding import Finding, fail
from operations.diagnostics.influx import influx_findings
from operations.diagnostics.kafka import kafka_findings
from operations.diagnostics.machine import machine_findings
from operations.diagnostics.roles import roles_findings
from operations.diagnostics.setup import settings_in_force, setup_findings
from operations.diagnostics.store import store_findings
from star.errors import ConfigError
from star.times import utc

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory to check.  [default: STARLOOP_DATA_DIR]",
)
@click.option(
    "--roles", "roles", multiple=True, metavar="URL[,URL…]", help="Health endpoints of running roles to check too."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(data: Path | None, roles: tuple[str, ...], as_json: bool) -> None:
    """Diagnose the installation, and suggest remedies.

    The exit status is 1 if a check fails.
    """
    found: list[Finding] = []
    settings, problems = read_settings(data)
    urls = [url.strip() for option in roles for url in option.split(",") if url.strip()]
    for finding in chain(problems, _all_findings(settings, urls)):
        found.append(finding)
        if not as_json:
            _print(finding)
    failed = [finding for finding in found if finding.state == "fail"]
    if as_json:
        report = {"ok": not failed, "findings": [asdict(one) for one in found], "settings": settings_in_force(settings)}
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        click.echo(f"{len(failed)} failed" if failed else "nothing failed")
    if failed:
        raise click.exceptions.Exit(1)


def read_settings(data: Path | None) -> tuple[Settings, list[Finding]]:
    """The settings, or the defaults with a finding for each invalid setting."""
    try:
        return Settings.read(data_dir=data), []
    except ConfigError as error:
        defaults = Settings.model_construct()
        usable = defaults if data is None else defaults.model_copy(update={"data_dir": data})
        return usable, [fail("settings", str(one), "correct it, or unset it") for one in error.problems]


def _all_findings(settings: Settings, roles: list[str]) -> Iterator[Finding]:
    now_ms = round(time.time() * 1000)
    yield from machine_findings(settings, utc(now_ms))
    yield from data_findings(settings, now_ms)
    yield from store_findings(settings)
    yield from kafka_findings(settings)
    yield from influx_findings(settings)
    yield from roles_findings(roles, settings)
    yield from setup_findings(settings, running_service_or_none(settings.data_dir))


def _print(finding: Finding) -> None:
    state = click.style(f"{finding.state:<4}", fg=_COLOURS[finding.state])
    click.echo(f"{state}  {finding.name:<13}  {finding.said}")
    if finding.remedy:
        click.echo(f"{'':<21}-> {finding.remedy}")
