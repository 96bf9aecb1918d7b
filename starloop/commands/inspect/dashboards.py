"""`starloop dashboards`: writes the Grafana dashboards and provisioning files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from operations.dashboards.files import write
from operations.dashboards.layout import CONSOLE_URL, DATASOURCE_UID, Options
from star.errors import UsageError

_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_URL = re.compile(r"https?://[^\s\"<>]+")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--datasource-uid", default=DATASOURCE_UID, show_default=True, help="Uid of the InfluxDB data source in Grafana."
)
@click.option(
    "--console-url",
    default=CONSOLE_URL,
    show_default=True,
    help="Address of the console, for links to receipts.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the paths as one JSON list.")
def command(folder: Path, datasource_uid: str, console_url: str, as_json: bool) -> None:
    """Write Grafana dashboards and provisioning files.

    The dashboards query InfluxDB 2 or 3 with InfluxQL. docs/how-to/watch-with-grafana.md describes the installation.
    """
    if _UID.fullmatch(datasource_uid) is None:
        raise UsageError(f"--datasource-uid is {datasource_uid!r}: expected up to 40 letters, digits, - and _")
    if _URL.fullmatch(console_url) is None:
        raise UsageError(f"--console-url is {console_url!r}: expected http://… or https://…")
    written = write(folder, Options(datasource_uid=datasource_uid, console_url=console_url))
    click.echo(json.dumps([str(path) for path in written]) if as_json else "\n".join(map(str, written)))
