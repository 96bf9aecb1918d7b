"""`starloop forecast [ITEM]`: latest forecasts: level, time to empty with its interval, and trust.

They come from the API of a running service, or from the log of a stopped one. Nothing is computed or changed here.
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
from operations.log_records import read_range
from runtime.service_discovery import RunningService, find_running_service
from star.analyse import DAYS_MAX, Forecast
from star.errors import InputError
from star.times import utc
from stream.topics import FORECASTS
from stream.transports.embedded_log.sqlite_log import LOG_NAME, SqliteLog

READ_BATCH_RECORDS = 500
"""Records per read, from the end of the log backwards."""
PAGE_ITEMS = 1_000
"""Items per API request."""
LOOKBACK_RECORDS_MAX = 200_000
"""Records searched for an item, from the end of the log: completeness against run time."""


@click.command()
@click.argument("item", required=False)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of the service.  [default: STARLOOP_DATA_DIR]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per item.")
def command(item: str | None, data: Path | None, as_json: bool) -> None:
    """Show the latest forecast of one item or all.

    ITEM is `device/name`. The service may be running or stopped.
    """
    folder = Settings.read(data_dir=data).data_dir
    service = find_running_service(folder)
    rows = forecasts_of_log(folder, item) if service is None else forecasts_of_service(service, item)
    if not rows:
        raise InputError(_nothing_found(folder, item))
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else format_forecast(row))


def forecasts_of_service(service: RunningService, item: str | None) -> list[dict[str, Any]]:
    """Items of a running service from its API, by name. Raises Unavailable or InputError."""
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
    """Latest forecasts of a stopped service, by item. Raises LogError if the log is missing or damaged."""
    latest: dict[str, Forecast] = {}
    with SqliteLog(folder / LOG_NAME, read_only=True) as log:
        for forecast in _newest_first(log):
            if item is None or forecast.item == item:
                latest.setdefault(forecast.item, forecast)
            if item is not None and latest:
                break
    return [{"item": name, "forecast": forecast_row(latest[name])} for name in sorted(latest)]


def format_forecast(row: dict[str, Any]) -> str:
    """One line for people."""
    forecast = row["forecast"]
    if forecast is None:
        return f"{row['item']}: no reading yet"
    low, middle, high = (forecast["days_to_empty"][level] for level in ("0.05", "0.5", "0.95"))
    unit = f" {row['unit']}" if row.get("unit") else ""
    lasts = (
        "lasts for years"
        if low >= DAYS_MAX
        else f"empty in {_days(middle)} (90 % interval: {low:.1f} to {_days(high)})"
    )
    at = utc(round(forecast["at"] * 1000)).isoformat(timespec="minutes").replace("+00:00", "Z")
    return f"{row['item']}: {forecast['level']:.4g}{unit}, {lasts}, trust {forecast['trust']:.0%}, as of {at}"


def _newest_first(log: SqliteLog) -> Iterator[Forecast]:
    """Forecasts of the log, latest first, from the last LOOKBACK_RECORDS_MAX records."""
    end = log.end(FORECASTS)
    first = max(log.begin(FORECASTS), end - LOOKBACK_RECORDS_MAX)
    while end > first:
        start = max(first, end - READ_BATCH_RECORDS)
        for _, wire in reversed(list(read_range(log, FORECASTS, start, end))):
            yield from reversed(unpack_forecasts(wire))
        end = start


def _nothing_found(folder: Path, item: str | None) -> str:
    if item is None:
        return f"{folder}: no forecast yet: expected a service that has received readings"
    return f"{item}: no forecast in {folder}: expected `device/name` of an item with readings"


def _days(days: float) -> str:
    return "years" if days >= DAYS_MAX else f"{days:.1f} days"
