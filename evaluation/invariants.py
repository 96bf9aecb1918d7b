"""Invariants of the service's behaviour, checked from outside: by the fleet, the inputs and the outputs alone.

It shares no code with the reactor, so that a mistake there is not repeated here. `violations` lists every violation, one sentence
each. The simulations of the tests and the closed-loop evaluation are checked by it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from config.catalogue import Catalogue, SlotItem
from config.fleet import Customer, Experience
from star.times import DAY_MS, utc

CONTACT_TYPES = frozenset({"starloop.offer.made", "starloop.reminder.sent", "starloop.advice.given"})
_EXPERIENCE_MIN: Mapping[str, Experience] = {
    "starloop.request.ready": Experience.RESPOND,
    "starloop.offer.made": Experience.OFFER,
    "starloop.reminder.sent": Experience.COACH,
    "starloop.advice.given": Experience.COACH,
}
"""Reaction type -> least experience that permits it without a request."""
_FINAL_RESULTS = frozenset({"delivered", "cancelled", "failed"})
_WEEK_MS = 7 * DAY_MS


@dataclass(slots=True, kw_only=True)
class _OrderRecord:
    id: str
    need: str
    item: str
    customer: str
    at_ms: int
    price: float
    presumed_lost_ms: int  # from then on it may be presumed lost
    result: str | None = None


@dataclass(slots=True)
class InvariantChecker:
    """Checks one run. It is given inputs and reactions in order of time."""

    catalogue: Catalogue
    violations: list[str] = field(default_factory=list)
    orders: dict[str, _OrderRecord] = field(default_factory=dict)
    _reactions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _accepted: set[str] = field(default_factory=set)  # needs whose offer, request or reminder was accepted
    _accepted_requests: set[str] = field(default_factory=set)  # needs whose ready request was accepted
    _request_counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # requests by item
    _contacts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _lead_times: dict[str, tuple[float, float]] = field(default_factory=dict)

    def on_outcome(self, body: Mapping[str, Any]) -> None:
        """Records an outcome, as the protocol carries it."""
        reaction = body.get("reaction")
        order = self.orders.get(str(reaction))
        if order is not None and body["result"] in _FINAL_RESULTS:
            order.result = body["result"]
        if reaction in self._reactions and body["result"] == "accepted":
            event = self._reactions[str(reaction)]
            self._accepted.add(event["data"]["need"])
            if event["type"] == "starloop.request.ready":
                self._accepted_requests.add(event["data"]["need"])

    def on_request(self, item: str) -> None:
        """Records a customer's request for the item `device/name`."""
        self._request_counts[item] += 1

    def was_requested(self, item: str, need: str) -> bool:
        """Whether a customer requested the item, or accepted the prepared request of this need."""
        return self._request_counts.get(item, 0) > 0 or need in self._accepted_requests

    def on_supplier_terms(self, supplier: str, lead_time_days: tuple[float, float]) -> None:
        """Records a supplier's changed lead time, as stated: its 10 % and 90 % quantile."""
        self._lead_times[supplier] = lead_time_days

    def on_reaction(self, event: Mapping[str, Any]) -> None:
        """Checks a reaction as it was printed or published: `{"at": seconds, "type", "id", "data"}`."""
        before = self._reactions.setdefault(event["id"], event)
        if before is not event:
            if before["data"] != event["data"]:
                self._add_violation(event, "has the id of an earlier reaction with other content")
            return
        data, at_ms = event["data"], round(event["at"] * 1000)
        item = f"{data['device']}/{data['item']}"
        customer = self.catalogue.customers[data["customer"]]
        self._check_consent(event, item, customer)
        if event["type"] in CONTACT_TYPES:
            self._check_contact(event, customer, at_ms)
        least = _EXPERIENCE_MIN.get(event["type"])
        if least is not None and self._experience_of(item).rank < least.rank:
            self._add_violation(event, f"is made, but the item's experience is {self._experience_of(item)}")
        if event["type"] == "starloop.order.requested":
            self._check_order(event, item, customer, at_ms)

    def _experience_of(self, item: str) -> Experience:
        return (self.catalogue.slots.get(item) or self.catalogue.parts[item]).experience

    def _check_consent(self, event: Mapping[str, Any], item: str, customer: Customer) -> None:
        purpose = "replenishment" if item in self.catalogue.slots else "maintenance"
        if purpose not in customer.consents:
            self._add_violation(event, f"is made without the consent {purpose!r}")

    def _check_contact(self, event: Mapping[str, Any], customer: Customer, at_ms: int) -> None:
        zone = ZoneInfo(customer.timezone)
        if customer.quiet_hours is not None:
            start, end = customer.quiet_hours
            clock = utc(at_ms).astimezone(zone).strftime("%H:%M")
            quiet = start <= clock < end if start <= end else clock >= start or clock < end
            if quiet:
                self._add_violation(event, f"reaches the customer at {clock}, in quiet hours {start} to {end}")
        contacts = self._contacts[customer.id]
        contacts.append(at_ms)
        recent = sum(1 for moment in contacts if at_ms - _WEEK_MS < moment <= at_ms)
        if recent > customer.contacts_per_week_max:
            self._add_violation(
                event, f"is contact {recent} in seven days: at most {customer.contacts_per_week_max} are allowed"
            )

    def _check_order(self, event: Mapping[str, Any], item: str, customer: Customer, at_ms: int) -> None:
        data = event["data"]
        slot = self.catalogue.slots[item]
        authorized = data["need"] in self._accepted or self._request_counts[item] > 0
        for other in self.orders.values():
            if other.item == item and other.result is None and at_ms < other.presumed_lost_ms:
                self._add_violation(event, f"is ordered while {other.id} is outstanding")
        lead = self._lead_times.get(data["supplier"]) or self.catalogue.suppliers[data["supplier"]].lead_time_days
        if data["supplier"] not in slot.suppliers:
            self._add_violation(event, f"goes to {data['supplier']!r}, a supplier that the customer has not chosen")
        if not authorized:
            self._check_unrequested_order(event, slot, customer, at_ms, lead)
        self.orders[event["id"]] = _OrderRecord(
            id=event["id"],
            need=data["need"],
            item=item,
            customer=customer.id,
            at_ms=at_ms,
            price=data["price"],
            presumed_lost_ms=at_ms + round(lead[1] * DAY_MS),
        )

    def _check_unrequested_order(
        self, event: Mapping[str, Any], slot: SlotItem, customer: Customer, at_ms: int, lead: tuple[float, float]
    ) -> None:
        """Checks an order that the customer neither requested nor accepted."""
        data = event["data"]
        if slot.experience is not Experience.AUTO:
            self._add_violation(event, f"is ordered without a request, but the item's experience is {slot.experience}")
        pack_price = data["price"] * slot.pack / data["quantity"]
        if slot.price_max is not None and pack_price > slot.price_max * 1.000001:
            self._add_violation(event, f"costs {pack_price:.2f} a pack, over {slot.price_max:.2f}")
        zone = ZoneInfo(customer.timezone)
        month = _local_day(at_ms, zone).replace(day=1)
        spent = data["price"] + sum(
            order.price
            for order in self.orders.values()
            if order.customer == customer.id
            and order.result not in ("cancelled", "failed")
            and at_ms < order.presumed_lost_ms  # an older one may have been presumed lost, and its amount released
            and _local_day(order.at_ms, zone).replace(day=1) == month
        )
        if customer.budget_per_month is not None and spent > customer.budget_per_month + 1e-6:
            self._add_violation(event, f"brings the month to {spent:.2f}, over {customer.budget_per_month:.2f}")
        first, last = (_local_day(at_ms + round(days * DAY_MS), zone) for days in lead)
        for start, end in customer.away:
            if first <= date.fromisoformat(end) and date.fromisoformat(start) <= last:
                self._add_violation(
                    event, f"could arrive from {first} to {last}, and the customer is away {start} to {end}"
                )

    def _add_violation(self, event: Mapping[str, Any], what: str) -> None:
        self.violations.append(f"{utc(round(event['at'] * 1000)):%Y-%m-%d %H:%M} {event['id']} {what}")


def _local_day(at_ms: int, zone: ZoneInfo) -> date:
    return utc(at_ms).astimezone(zone).date()
