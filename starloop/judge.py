"""A judge of what the service does, from outside: it sees the fleet, what came in and what went out, and nothing else.

It shares no code with the reactor, so that a mistake there is not made here again. `broken` lists every promise found broken,
one sentence each. The worlds of the tests and the closed-loop evaluation are judged by it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from config.fleet import Customer, Experience
from config.resolve import Catalogue, SlotItem
from star.times import DAY_MS, utc

CONTACTS = frozenset({"starloop.offer.made", "starloop.reminder.sent", "starloop.advice.given"})
_LEAST: Mapping[str, Experience] = {
    "starloop.request.ready": Experience.RESPOND,
    "starloop.offer.made": Experience.OFFER,
    "starloop.reminder.sent": Experience.COACH,
    "starloop.advice.given": Experience.COACH,
}
"""The least experience that lets each reaction be made unasked."""
_ENDS = frozenset({"delivered", "cancelled", "failed"})
_WEEK_MS = 7 * DAY_MS


@dataclass(slots=True, kw_only=True)
class _Order:
    id: str
    need: str
    item: str
    customer: str
    at_ms: int
    price: float
    mandated: bool
    late_ms: int  # from here on it may be given up as lost
    ended: str | None = None


@dataclass(slots=True)
class Judge:
    """Watches one run. Feed it reactions and what came in, in order of time."""

    catalogue: Catalogue
    broken: list[str] = field(default_factory=list)
    orders: dict[str, _Order] = field(default_factory=dict)
    _lines: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _accepted: set[str] = field(default_factory=set)  # needs whose offer, request or reminder was accepted
    _sent_requests: set[str] = field(default_factory=set)  # needs whose ready request was accepted
    _asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # requests by item
    _contacts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _lead: dict[str, tuple[float, float]] = field(default_factory=dict)

    def outcome(self, body: Mapping[str, Any]) -> None:
        """Something that came of a reaction, as it came in."""
        reaction = body.get("reaction")
        order = self.orders.get(str(reaction))
        if order is not None and body["result"] in _ENDS:
            order.ended = body["result"]
        if reaction in self._lines and body["result"] == "accepted":
            line = self._lines[str(reaction)]
            self._accepted.add(line["data"]["need"])
            if line["type"] == "starloop.request.ready":
                self._sent_requests.add(line["data"]["need"])

    def request(self, item: str) -> None:
        """A customer asked for `device/name`."""
        self._asked[item] += 1

    def wanted(self, item: str, need: str) -> bool:
        """Whether a customer asked for `device/name`, or sent the ready request of this need."""
        return self._asked.get(item, 0) > 0 or need in self._sent_requests

    def terms(self, supplier: str, lead_time_days: tuple[float, float]) -> None:
        """A supplier's stated lead time changed."""
        self._lead[supplier] = lead_time_days

    def reaction(self, line: Mapping[str, Any]) -> None:
        """A reaction as it was printed or published: `{"at": seconds, "type", "id", "data"}`."""
        before = self._lines.setdefault(line["id"], line)
        if before is not line:
            if before["data"] != line["data"]:
                self._say(line, "has the id of another reaction with other content")
            return
        data, at_ms = line["data"], round(line["at"] * 1000)
        item = f"{data['device']}/{data['item']}"
        customer = self.catalogue.customers[data["customer"]]
        self._judge_consent(line, item, customer)
        if line["type"] in CONTACTS:
            self._judge_contact(line, customer, at_ms)
        least = _LEAST.get(line["type"])
        if least is not None and self._allowed(item).rank < least.rank:
            self._say(line, f"is made, but the item allows {self._allowed(item)}")
        if line["type"] == "starloop.order.requested":
            self._judge_order(line, item, customer, at_ms)

    def _allowed(self, item: str) -> Experience:
        return (self.catalogue.slots.get(item) or self.catalogue.parts[item]).experience

    def _judge_consent(self, line: Mapping[str, Any], item: str, customer: Customer) -> None:
        purpose = "replenishment" if item in self.catalogue.slots else "maintenance"
        if purpose not in customer.consents:
            self._say(line, f"is made without the consent {purpose!r}")

    def _judge_contact(self, line: Mapping[str, Any], customer: Customer, at_ms: int) -> None:
        zone = ZoneInfo(customer.timezone)
        if customer.quiet_hours is not None:
            start, end = customer.quiet_hours
            clock = utc(at_ms).astimezone(zone).strftime("%H:%M")
            quiet = start <= clock < end if start <= end else clock >= start or clock < end
            if quiet:
                self._say(line, f"reaches the customer at {clock}, in quiet hours {start} to {end}")
        contacts = self._contacts[customer.id]
        contacts.append(at_ms)
        recent = sum(1 for moment in contacts if at_ms - _WEEK_MS < moment <= at_ms)
        if recent > customer.contacts_per_week_max:
            self._say(line, f"is contact {recent} in seven days: at most {customer.contacts_per_week_max} are allowed")

    def _judge_order(self, line: Mapping[str, Any], item: str, customer: Customer, at_ms: int) -> None:
        data = line["data"]
        slot = self.catalogue.slots[item]
        mandated = data["need"] in self._accepted or self._asked[item] > 0
        for other in self.orders.values():
            if other.item == item and other.ended is None and at_ms < other.late_ms:
                self._say(line, f"is ordered while {other.id} is outstanding")
        lead = self._lead.get(data["supplier"]) or self.catalogue.suppliers[data["supplier"]].lead_time_days
        if data["supplier"] not in slot.suppliers:
            self._say(line, f"goes to {data['supplier']!r}, whom the customer does not name")
        if not mandated:
            self._judge_own_order(line, slot, customer, at_ms, lead)
        self.orders[line["id"]] = _Order(
            id=line["id"],
            need=data["need"],
            item=item,
            customer=customer.id,
            at_ms=at_ms,
            price=data["price"],
            mandated=mandated,
            late_ms=at_ms + round(lead[1] * DAY_MS),
        )

    def _judge_own_order(
        self, line: Mapping[str, Any], slot: SlotItem, customer: Customer, at_ms: int, lead: tuple[float, float]
    ) -> None:
        """An order that nobody asked for or accepted."""
        data = line["data"]
        if slot.experience is not Experience.AUTO:
            self._say(line, f"is ordered unasked, but the item allows {slot.experience}")
        pack_price = data["price"] * slot.pack / data["quantity"]
        if slot.price_max is not None and pack_price > slot.price_max * 1.000001:
            self._say(line, f"costs {pack_price:.2f} a pack, over {slot.price_max:.2f}")
        zone = ZoneInfo(customer.timezone)
        month = _local_day(at_ms, zone).replace(day=1)
        spent = data["price"] + sum(
            order.price
            for order in self.orders.values()
            if order.customer == customer.id
            and order.ended not in ("cancelled", "failed")
            and at_ms < order.late_ms  # an older one may have been given up, and its money released
            and _local_day(order.at_ms, zone).replace(day=1) == month
        )
        if customer.budget_per_month is not None and spent > customer.budget_per_month + 1e-6:
            self._say(line, f"brings the month to {spent:.2f}, over {customer.budget_per_month:.2f}")
        first, last = (_local_day(at_ms + round(days * DAY_MS), zone) for days in lead)
        for start, end in customer.away:
            if first <= date.fromisoformat(end) and date.fromisoformat(start) <= last:
                self._say(line, f"could arrive from {first} to {last}, and the customer is away {start} to {end}")

    def _say(self, line: Mapping[str, Any], what: str) -> None:
        self.broken.append(f"{utc(round(line['at'] * 1000)):%Y-%m-%d %H:%M} {line['id']} {what}")


def _local_day(at_ms: int, zone: ZoneInfo) -> date:
    return utc(at_ms).astimezone(zone).date()
