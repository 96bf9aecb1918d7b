"""Fleet changes: rows of customers, devices and suppliers that replace those in force, at once."""

from __future__ import annotations

from typing import Any

from config.catalogue import Catalogue
from config.fleet_change import change_catalogue, parse_change
from reactor.commands import Command, Commands, DropTerms, ReplaceCatalogue, ReportUnmatched
from reactor.decision.quotes import stated_lead_days
from reactor.fleet_overrides import overrides_of
from reactor.handlers.needs import release_holds
from reactor.state_view import StateView
from star.errors import ConfigError
from star.records import FleetChange


def handle(view: StateView, change: FleetChange) -> Commands:
    """The commands that follow from the change: needs of the customers concerned are evaluated again."""
    try:
        tables = parse_change(change.tables)
        catalogue = change_catalogue(view.catalogue, tables, view.catalogue.profiles)
    except ConfigError as error:
        text = f"a change of the fleet was not taken: {str(error).splitlines()[0]}"
        return (ReportUnmatched(text=text),)
    decided: list[Command] = [ReplaceCatalogue(catalogue=catalogue, overrides=overrides_of(tables, catalogue))]
    for row in tables.get("suppliers", []):
        decided.append(_supplier_row(view, catalogue, str(row["id"]), change.at_ms))
    customers = _customers_of(tables, catalogue)
    everyone = bool(tables.get("suppliers"))
    return (*decided, *release_holds(view, lambda need: everyone or need.customer in customers))


def _supplier_row(view: StateView, catalogue: Catalogue, supplier: str, stated_ms: int) -> DropTerms:
    """A supplier's row replaces terms that came by event; lead times are learned anew where it states others."""
    known = view.catalogue.suppliers.get(supplier)
    stated_days = catalogue.suppliers[supplier].lead_time_days
    changed = known is not None and stated_lead_days(known, view.supplier_record(supplier)) != stated_days
    return DropTerms(supplier=supplier, stated_ms=stated_ms if changed else None)


def _customers_of(tables: dict[str, Any], catalogue: Catalogue) -> set[str]:
    """The customers whose row, or a device's of theirs, the change names."""
    customers = {str(row["id"]) for row in tables.get("customers", [])}
    return customers | {catalogue.devices[str(row["id"])].customer for row in tables.get("devices", [])}
