"""Events: each kind has its handler."""

from __future__ import annotations

from reactor.commands import Commands
from reactor.handlers import fleet_changes, outcomes, requests, terms
from reactor.state_view import StateView
from star.records import Event, FleetChange, Request, SupplierTerms
from star.repeat import Outcome


def handle(view: StateView, event: Event) -> Commands:
    """The commands that follow from the event."""
    match event:
        case Outcome():
            return outcomes.handle(view, event)
        case Request():
            return requests.handle(view, event)
        case SupplierTerms():
            return terms.handle(view, event)
        case FleetChange():
            return fleet_changes.handle(view, event)
