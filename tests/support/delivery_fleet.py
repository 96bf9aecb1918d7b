"""A small fleet, its reactions, an in-memory outbox, recording channels and a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Customer, Fleet, Supplier
from config.profile_file import load_profiles
from reactor.delivery.channel_router import ChannelRouter, ChannelTable
from star.ids import NeedId, ReactionId
from star.ports import Channel
from star.react import Option, Reaction, ReactionType
from star.repeat import Outcome

SECRET = "whsec_c3Rhcmxvb3AtdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OQ=="
START_MS = 1_764_000_000_000


@dataclass
class ManualClock:
    """A clock that moves only by hand."""

    at_ms: int = START_MS

    def now_ms(self) -> int:
        return self.at_ms

    def advance_s(self, seconds: float) -> None:
        """Advances it."""
        self.at_ms += round(seconds * 1000)


@dataclass
class FakeOutboxEntry:
    """A row of the in-memory outbox."""

    id: int
    reaction: Reaction
    target: str
    due_ms: int
    tries: int = 0
    error: str | None = None
    state: str = "waiting"
    partition: int = 0

    @property
    def need(self) -> str:
        return self.reaction.need


@dataclass
class InMemoryOutbox:
    """The outbox protocol without a disk: of each line only the first row that is not finished is due."""

    rows: list[FakeOutboxEntry] = field(default_factory=list)

    def add(self, reaction: Reaction, target: str, partition: int = 0) -> FakeOutboxEntry:
        """Adds a row at the end of its line."""
        row = FakeOutboxEntry(len(self.rows), reaction, target, reaction.at_ms, partition=partition)
        self.rows.append(row)
        return row

    def due(self, now_ms: int, limit: int, partitions: Collection[int] | None = None) -> Sequence[FakeOutboxEntry]:
        heads: dict[tuple[str, str], FakeOutboxEntry] = {}
        for row in self.rows:
            if row.state == "waiting" and (partitions is None or row.partition in partitions):
                heads.setdefault((row.need, row.target), row)
        return sorted((row for row in heads.values() if row.due_ms <= now_ms), key=lambda row: row.due_ms)[:limit]

    def mark_sent(self, row: int, now_ms: int) -> None:
        self.rows[row].state = "sent"

    def mark_failed(self, row: int, error: str, *, next_try_ms: int | None) -> None:
        found = self.rows[row]
        found.tries, found.error = found.tries + 1, error
        if next_try_ms is None:
            found.state = "given_up"
        else:
            found.due_ms = next_try_ms


@dataclass
class RecordingChannel:
    """A channel or router that accepts everything, and records the outcomes that are reported to it."""

    sent: list[Reaction] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    async def send(self, reaction: Reaction, address: str) -> None:
        self.sent.append(reaction)

    async def close(self) -> None:
        pass

    async def report(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


def fleet_of(
    endpoint: str = "https://acme.example/orders",
    channels: Sequence[str] = ("mqtt",),
    language: str = "en",
    **customer: Any,
) -> Catalogue:
    """One customer with one tank, served by acme; `customer`: further fields of theirs."""
    fleet = Fleet.model_validate(
        {
            "customers": [
                {
                    "id": "maria",
                    "language": language,
                    "channels": list(channels),
                    "consents": ["replenishment"],
                    **customer,
                }
            ],
            "devices": [
                {
                    "id": "tank-7",
                    "customer": "maria",
                    "profile": "level-tank",
                    "slots": {"oil": {"capacity": 1500.0, "suppliers": ["acme"]}},
                }
            ],
            "suppliers": [{"id": "acme", "endpoint": endpoint, "secret": SECRET}],
        }
    )
    return resolve_catalogue(fleet, load_profiles())


def reaction_of(kind: ReactionType = ReactionType.ORDER_REQUESTED, *, cycle: int = 3, **changes: Any) -> Reaction:
    """A reaction about the tank's oil."""
    need = f"{changes.get('device', 'tank-7')}/oil/{cycle}"
    orders = kind in (ReactionType.ORDER_REQUESTED, ReactionType.ORDER_CANCELLED)
    fields: dict[str, Any] = {
        "id": str(ReactionId(NeedId.parse(need), kind, 1)),
        "type": kind,
        "at_ms": START_MS,
        "need": need,
        "attempt": 1,
        "device": "tank-7",
        "item": "oil",
        "customer": "maria",
        "because": "Your oil lasts about 6 days – acme needs 5.",
        "supplier": "acme" if orders else None,
        "quantity": 500.0 if orders else None,
        "price": 610.0 if orders else None,
        "order": str(ReactionId(NeedId.parse(need), ReactionType.ORDER_REQUESTED, 1))
        if kind is ReactionType.ORDER_CANCELLED
        else None,
        "options": (Option(sku="oil-500", supplier="acme", quantity=500.0, price=610.0, why="It comes first."),)
        if kind is ReactionType.OFFER_MADE
        else (),
    }
    return Reaction(**{**fields, **changes})


def router_of(
    catalogue: Catalogue, *, mqtt: Channel | None = None, webhook: Channel | None = None, notify: Channel | None = None
) -> ChannelRouter:
    """A router of this fleet with these channels; the others accept everything."""
    others = RecordingChannel()
    suppliers = dict.fromkeys(("http", "https"), webhook or others)
    return ChannelRouter(
        ChannelTable(endpoints={"mqtt": mqtt or others, **suppliers}, contacts={"*": notify or others}),
        supplier_of=supplier_lookup(catalogue),
        customer_of=customer_lookup(catalogue),
    )


def supplier_lookup(catalogue: Catalogue) -> Callable[[str], Supplier | None]:
    """The suppliers of a catalogue, by id."""
    return catalogue.suppliers.get


def customer_lookup(catalogue: Catalogue) -> Callable[[str], Customer | None]:
    """The customers of a catalogue, by id."""
    return catalogue.customers.get
