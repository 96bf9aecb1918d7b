"""`starloop forecast [ITEM]`: what is known of an item, or of all - its level, when it runs out, and how sure that is.

Asked of the running service; of a stopped one, read from its log. Nothing is worked out here and nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from config.settings import Settings
from console.api.queries import forecast_row
from console.read_model import unpack_forecasts
from runtime.service_discovery import RunningService, find_running_service
from star.analyse import DAYS_MAX, Forecast
from star.errors import InputError
from star.times import utc
from stream.topics import FORECASTS
from stream.transports.embedded_log.sqlite_log import LOG_NAME, SqliteLog

READ_BATCH_RECORDS = 500
"""Records of the log taken at a time, from its end backwards."""
PAGE_ITEMS = 1_000
"""Items asked of the running service at a time."""
LOOKBACK_RECORDS_MAX = 200_000
"""How far back an item is looked for."""


@click.command()
@click.argument("item", required=False)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The service's data directory.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an item and line.")
def command(item: str | None, data: Path | None, as_json: bool) -> None:
    """What is known of ITEM (`device/name`), or of every item."""
    folder = Settings.read(data_dir=data).data_dir
    service = find_running_service(folder)
    rows = forecasts_of_log(folder, item) if service is None else forecasts_of_service(service, item)
    if not rows:
        raise InputError(_nothing_found(folder, item))
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else format_forecast(row))


def forecasts_of_service(service: RunningService, item: str | None) -> list[dict[str, Any]]:
    """The items of a running service as its API shows them, by name. Raises Unavailable or InputError."""
    if item is not None:
        row: dict[str, Any] = service.get_json(f"/api/v1/items/{quote(item)}?days=0")
        return [{name: value for name, value in row.items() if name != "history"}]
    rows: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = service.get_json(f"/api/v1/items?limit={PAGE_ITEMS}&after={quote(after, safe='')}")
        rows += page["items"]
        after = page["next"]
    return rows


def forecasts_of_log(folder: Path, item: str | None) -> list[dict[str, Any]]:
    """The latest forecasts of a stopped service, by item. Raises LogError where there is no log, or a damaged one."""
    latest: dict[str, Forecast] = {}
    with SqliteLog(folder / LOG_NAME, read_only=True) as log:
        for forecast in _newest_first(log):
            if item is None or forecast.item == item:
                latest.setdefault(forecast.item, forecast)
            if item is not None and latest:
                break
    return [{"item": name, "forecast": forecast_row(latest[name])} for name in sorted(latest)]


def format_forecast(row: dict[str, Any]) -> str:
    """A row as one line for people."""
    known = row["forecast"]
    if known is None:
        return f"{row['item']}: no reading has come yet"
    low, middle, high = (known["days_to_empty"][level] for level in ("0.05", "0.5", "0.95"))
    unit = f" {row['unit']}" if row.get("unit") else ""
    lasts = "lasts years" if low >= DAYS_MAX else f"empty in {_days(middle)} (90 % sure: {low:.1f} to {_days(high)})"
    at = utc(round(known["at"] * 1000)).isoformat(timespec="minutes").replace("+00:00", "Z")
    return f"{row['item']}: {known['level']:.4g}{unit}, {lasts}, trust {known['trust']:.0%}, as of {at}"


def _newest_first(log: SqliteLog) -> Iterator[Forecast]:
    """Forecasts of the log, the latest first, at most RECORDS_MAX records back."""
    end = log.end(FORECASTS)
    first = max(log.begin(FORECASTS), end - LOOKBACK_RECORDS_MAX)
    while end > first:
        start = max(first, end - READ_BATCH_RECORDS)
        for wire in reversed(_read_range(log, start, end)):
            yield from reversed(unpack_forecasts(wire))
        end = start


def _read_range(log: SqliteLog, start: int, end: int) -> list[bytes]:
    """The records from start to before end; one read may stop early, so as many as it takes."""
    found: list[bytes] = []
    while start < end:
        rows = log.read(FORECASTS, start, end - start)
        if not rows:
            break
        found += [wire for _, wire in rows]
        start = rows[-1][0] + 1
    return found


def _nothing_found(folder: Path, item: str | None) -> str:
    if item is None:
        return f"{folder}: no forecast has been made here yet: expected readings to have come in"
    return f"{item}: nothing is known of it in {folder}: expected `device/name` of an item that has had a reading"


def _days(days: float) -> str:
    return "years" if days >= DAYS_MAX else f"{days:.1f} days"
