"""Supplier terms: a price or lead time that a supplier states, in force at once."""

from __future__ import annotations

from reactor.commands import Command, Commands, RecordLeadTime, RecordPrice, ReportUnmatched
from reactor.handlers.needs import release_holds
from reactor.state import Need
from reactor.state_view import StateView
from star.records import SupplierTerms


def handle(view: StateView, terms: SupplierTerms) -> Commands:
    """The commands that follow from the terms: needs that wait for an answer or a price are evaluated again."""
    if terms.supplier not in view.catalogue.suppliers:
        return (ReportUnmatched(text=f"terms of {terms.supplier!r}, which is not a supplier of the fleet"),)
    decided: list[Command] = []
    if terms.price is not None:
        decided.append(RecordPrice(supplier=terms.supplier, price=terms.price, at_ms=terms.at_ms))
    if terms.lead_time_days is not None:
        decided.append(RecordLeadTime(supplier=terms.supplier, lead_days=terms.lead_time_days, stated_ms=terms.at_ms))
    return (*decided, *release_holds(view, lambda need: _buys_from(view, need, terms.supplier)))


def _buys_from(view: StateView, need: Need, supplier: str) -> bool:
    item = view.item(need.item)
    return item is not None and supplier in item.suppliers
