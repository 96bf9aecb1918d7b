"""`starloop why ID`: the receipt of a need, a reaction or a decision - one sentence, then all that it rests on.

Asked of the running service; of a stopped one, read from its store. Nothing is worked out here and nothing is changed. The
sentence and the rules' reasons are in the customer's language, as they were decided; --lang is of the words around them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from config.settings import Settings
from console.api.queries import decision_row
from reactor.store.sql import SqlStore
from runtime.data_dir import STORE_FILE, store_url
from runtime.service_discovery import find_running_service
from star.errors import InputError
from star.times import utc

DECISION_ID = re.compile(r"^(?P<need>.+)/decision/\d+$")
LABELS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "reaction": "reaction",
        "rules": "rules",
        "yes": "allowed",
        "no": "refused",
        "until": "until",
        "alternative": "instead",
        "forecast": "forecast",
        "level": "level",
        "empty": "days to empty",
        "trust": "trust",
        "model": "model",
        "readings": "readings, the latest",
        "figures": "figures",
    },
    "fr": {
        "reaction": "réaction",
        "rules": "règles",
        "yes": "permis",
        "no": "refusé",
        "until": "jusqu'au",
        "alternative": "sinon",
        "forecast": "prévision",
        "level": "niveau",
        "empty": "jours restants",
        "trust": "confiance",
        "model": "modèle",
        "readings": "mesures, la dernière",
        "figures": "chiffres",
    },
}


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="The service's data directory.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a receipt and line.")
@click.option("--lang", type=click.Choice(sorted(LABELS)), default="en", show_default=True, help="Of the words around.")
def command(id_: str, data: Path | None, as_json: bool, lang: str) -> None:
    """Why the service did what it did: the receipt of the need, reaction or decision with this ID, the latest first."""
    settings = Settings.read(data_dir=data)
    service = find_running_service(settings.data_dir)
    rows = receipts_of_store(settings, id_) if service is None else receipts_of_service(service.get_json, id_)
    if not rows:
        raise InputError(
            f"{id_}: no receipt of it in {settings.data_dir}: expected a need's, reaction's or decision's id"
        )
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else "\n".join(format_receipt(row, lang)))


def receipts_of_store(settings: Settings, id_: str) -> list[dict[str, Any]]:
    """Receipts of a stopped service, newest first. Raises StoreError where its store can't be read."""
    path = settings.data_dir / STORE_FILE
    if settings.store == "sqlite" and not path.is_file():
        raise InputError(f"{path}: not there: expected the data directory of a service that has run")
    with SqlStore(store_url(settings)) as store:
        return [decision_row(decision) for decision in store.decisions(id_)]


def receipts_of_service(ask: Any, id_: str) -> list[dict[str, Any]]:
    """Receipts of a running service, newest first."""
    named = DECISION_ID.match(id_)
    answer = ask(f"/api/v1/why/{quote(named['need'] if named else id_)}")
    rows = answer["decisions"] if "decisions" in answer else [answer["decision"]]
    return [row for row in rows if row is not None and (named is None or row["decision"] == id_)]


def format_receipt(row: Mapping[str, Any], lang: str = "en") -> Iterator[str]:
    """A receipt as lines for people."""
    words = LABELS[lang]
    yield f"{row['decision']}  {_time(row['at'])}  {row['verdict']}"
    yield f"  {row['because']}"
    if row.get("reaction"):
        yield f"  {words['reaction']}: {row['reaction']}"
    if row.get("alternative"):
        yield f"  {words['alternative']}: {row['alternative']}"
    for rule in row.get("rules") or ():
        until = f" ({words['until']} {_time(rule['until'])})" if rule.get("until") is not None else ""
        yield f"  {words['rules']}: {rule['rule']} {words['yes' if rule['allowed'] else 'no']}: {rule['reason']}{until}"
    if row.get("forecast"):
        yield from _forecast_lines(row["forecast"], words)
    if row.get("figures"):
        figures = ", ".join(f"{name} {value:.6g}" for name, value in row["figures"].items())
        yield f"  {words['figures']}: {figures}"


def _forecast_lines(forecast: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    days = ", ".join(f"{float(level):.0%}: {value:.4g}" for level, value in forecast["days_to_empty"].items())
    yield f"  {words['forecast']} {_time(forecast['at'])}: {words['level']} {forecast['level']:.6g}; {words['empty']} {days}"
    yield f"  {words['trust']}: {forecast['trust']:.0%}; {words['model']}: {forecast['model']}"
    reading = forecast["reading"]
    yield f"  {forecast['readings']} {words['readings']}: {reading['value']:.6g} ({_time(reading['at'])})"


def _time(at_s: float) -> str:
    return utc(round(at_s * 1000)).isoformat(timespec="seconds").replace("+00:00", "Z")
