"""`starloop why ID`: receipt of a need, reaction or decision: one sentence, and the data that it is based on.

Receipts come from the API of a running service, or from the store of a stopped one. Nothing is computed or changed here. The
sentence and the reasons of rules are stored in the customer's language; --lang sets the language of the labels.
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
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Data directory of the service.  [default: STARLOOP_DATA_DIR]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per receipt.")
@click.option(
    "--lang", type=click.Choice(sorted(LABELS)), default="en", show_default=True, help="Language of the labels."
)
def command(id_: str, data: Path | None, as_json: bool, lang: str) -> None:
    """Explain a need, reaction or decision.

    Prints the receipts of ID, latest first. The service may be running or stopped.
    """
    settings = Settings.read(data_dir=data)
    service = find_running_service(settings.data_dir)
    rows = receipts_of_store(settings, id_) if service is None else receipts_of_service(service.get_json, id_)
    if not rows:
        raise InputError(f"{id_}: no receipt in {settings.data_dir}: expected the id of a need, reaction or decision")
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else "\n".join(format_receipt(row, lang)))


def receipts_of_store(settings: Settings, id_: str) -> list[dict[str, Any]]:
    """Receipts of a stopped service, newest first. Raises StoreError if the store is unreadable."""
    path = settings.data_dir / STORE_FILE
    if settings.store == "sqlite" and not path.is_file():
        raise InputError(f"{path}: not found: expected the data directory of a service that has run")
    with SqlStore(store_url(settings)) as store:
        return [decision_row(decision) for decision in store.decisions(id_)]


def receipts_of_service(get_json: Any, id_: str) -> list[dict[str, Any]]:
    """Receipts of a running service, newest first."""
    match = DECISION_ID.match(id_)
    response = get_json(f"/api/v1/why/{quote(match['need'] if match else id_)}")
    rows = response["decisions"] if "decisions" in response else [response["decision"]]
    return [row for row in rows if row is not None and (match is None or row["decision"] == id_)]


def format_receipt(row: Mapping[str, Any], lang: str = "en") -> Iterator[str]:
    """Lines for people."""
    labels = LABELS[lang]
    yield f"{row['decision']}  {_time(row['at'])}  {row['verdict']}"
    yield f"  {row['because']}"
    if row.get("reaction"):
        yield f"  {labels['reaction']}: {row['reaction']}"
    if row.get("alternative"):
        yield f"  {labels['alternative']}: {row['alternative']}"
    for rule in row.get("rules") or ():
        until = f" ({labels['until']} {_time(rule['until'])})" if rule.get("until") is not None else ""
        yield f"  {labels['rules']}: {rule['rule']} {labels['yes' if rule['allowed'] else 'no']}: {rule['reason']}{until}"
    if row.get("forecast"):
        yield from _forecast_lines(row["forecast"], labels)
    if row.get("figures"):
        figures = ", ".join(f"{name} {value:.6g}" for name, value in row["figures"].items())
        yield f"  {labels['figures']}: {figures}"


def _forecast_lines(forecast: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    days = ", ".join(f"{float(level):.0%}: {value:.4g}" for level, value in forecast["days_to_empty"].items())
    yield f"  {labels['forecast']} {_time(forecast['at'])}: {labels['level']} {forecast['level']:.6g}; {labels['empty']} {days}"
    yield f"  {labels['trust']}: {forecast['trust']:.0%}; {labels['model']}: {forecast['model']}"
    reading = forecast["reading"]
    yield f"  {forecast['readings']} {labels['readings']}: {reading['value']:.6g} ({_time(reading['at'])})"


def _time(at_s: float) -> str:
    return utc(round(at_s * 1000)).isoformat(timespec="seconds").replace("+00:00", "Z")
