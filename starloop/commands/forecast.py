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
from console.views import TOPIC, unpack_forecasts
from star.analyse import DAYS_MAX, SHOWN_QUANTILES, Forecast
from star.errors import InputError
from star.times import seconds, utc
from starloop.running import find_running
from stream.transports.log import LOG_NAME, SqliteLog

READ_RECORDS = 500
"""Records of the log taken at a time, from its end backwards."""
RECORDS_MAX = 200_000
"""How far back an item is looked for."""


@click.command()
@click.argument("item", required=False)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The service's data directory.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object an item and line.")
def command(item: str | None, data: Path | None, as_json: bool) -> None:
    """What is known of ITEM (`device/name`), or of every item."""
    folder = Settings.read(data_dir=data).data_dir
    service = find_running(folder)
    rows = of_log(folder, item) if service is None else _of_service(service.ask(_path(item)))
    if not rows:
        raise InputError(_nothing(folder, item))
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else in_words(row))


def of_log(folder: Path, item: str | None) -> list[dict[str, Any]]:
    """The latest forecasts of a stopped service, by item. Raises LogError where there is no log, or a damaged one."""
    latest: dict[str, Forecast] = {}
    with SqliteLog(folder / LOG_NAME, read_only=True) as log:
        for forecast in _backwards(log):
            if item is None or forecast.item == item:
                latest.setdefault(forecast.item, forecast)
            if item is not None and latest:
                break
    return [row_of(latest[name]) for name in sorted(latest)]


def row_of(forecast: Forecast) -> dict[str, Any]:
    """A forecast in the words of the HTTP API."""
    return {
        "item": forecast.item,
        "at": seconds(forecast.at_ms),
        "level": forecast.level,
        "days_to_empty": forecast.shown(),
        "rate_per_day": forecast.rate_per_day,
        "trust": round(forecast.trust, 4),
        "model": forecast.model,
        "readings": forecast.readings,
        "reading_at": seconds(forecast.reading_ms),
    }


def in_words(row: dict[str, Any]) -> str:
    """A row as one line for people."""
    days = row.get("days_to_empty")
    if not days:
        return f"{row['item']}: no reading has come yet"
    low, middle, high = (days[str(level)] for level in (SHOWN_QUANTILES[0], 0.5, SHOWN_QUANTILES[-1]))
    unit = f" {row['unit']}" if row.get("unit") else ""
    lasts = "lasts years" if low >= DAYS_MAX else f"empty in {middle:.1f} days (90 % sure: {low:.1f} to {_far(high)})"
    at = utc(round(row["at"] * 1000)).isoformat(timespec="minutes").replace("+00:00", "Z")
    return f"{row['item']}: {row['level']:.4g}{unit}, {lasts}, trust {row['trust']:.0%}, as of {at}"


def _backwards(log: SqliteLog) -> Iterator[Forecast]:
    """Forecasts of the log, the latest first, at most RECORDS_MAX records back."""
    end = log.end(TOPIC)
    first = max(log.begin(TOPIC), end - RECORDS_MAX)
    while end > first:
        start = max(first, end - READ_RECORDS)
        for wire in reversed(_between(log, start, end)):
            yield from reversed(unpack_forecasts(wire))
        end = start


def _between(log: SqliteLog, start: int, end: int) -> list[bytes]:
    """The records from start to before end; one read may stop early, so as many as it takes."""
    found: list[bytes] = []
    while start < end:
        rows = log.read(TOPIC, start, end - start)
        if not rows:
            break
        found += [wire for _, wire in rows]
        start = rows[-1][0] + 1
    return found


def _path(item: str | None) -> str:
    return "/api/v1/items" if item is None else f"/api/v1/items/{quote(item)}"


def _of_service(answer: Any) -> list[dict[str, Any]]:
    rows = answer["items"] if isinstance(answer, dict) and "items" in answer else answer
    return rows if isinstance(rows, list) else [rows]


def _nothing(folder: Path, item: str | None) -> str:
    if item is None:
        return f"{folder}: no forecast has been made here yet: expected readings to have come in"
    return f"{item}: nothing is known of it in {folder}: expected `device/name` of an item that has had a reading"


def _far(days: float) -> str:
    return "years" if days >= DAYS_MAX else f"{days:.1f}"
