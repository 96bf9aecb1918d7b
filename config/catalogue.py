"""The catalogue: every item with the values of its profile and the overrides of its fleet file, for stream and reactor.

A `*` among a profile's slots stands for any slot that a device names; slots and parts that a profile names exist on every
device of that profile. Checks across tables are here, so that files and API calls are validated alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from config.fleet import Customer, Device, Experience, Fleet, Part, Slot, Supplier
from config.profile_schema import ConditionMonitoring, PartProfile, Profile, ServiceInterval, SlotProfile, SlotSignal
from config.suggestions import did_you_mean, list_names
from star.errors import ConfigError, Problem
from star.ids import ItemId

HOLDING_PARITY_DAYS = 500.0
"""Default of the holding cost: a stock-out costs as much as a pack delivered this many days too early. The higher, the
earlier orders go out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotItem:
    """A slot, resolved. Quantities in `unit`, money in the fleet's currency."""

    key: str  # device/name
    device: str
    name: str
    customer: str
    profile: str
    label: Mapping[str, str]
    experience: Experience
    suppliers: tuple[str, ...]
    signal: SlotSignal
    unit: str
    capacity: float
    pack: float
    rate_per_day: float
    rate_spread: float
    noise: float
    step: float
    price_max: float | None
    stockout_cost: float
    stockout_cost_per_day: float
    holding_cost_per_day: float
    order_cost: float
    spare_packs: bool
    look_every_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartItem:
    """A part, resolved."""

    key: str
    device: str
    name: str
    customer: str
    profile: str
    label: Mapping[str, str]
    experience: Experience
    suppliers: tuple[str, ...]
    intervals: tuple[ServiceInterval, ...]
    condition: ConditionMonitoring | None
    failure_cost: float
    service_cost: float
    look_every_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All tables by id, and all items by `device/name`. Immutable."""

    customers: Mapping[str, Customer]
    devices: Mapping[str, Device]
    suppliers: Mapping[str, Supplier]
    profiles: Mapping[str, Profile]
    slots: Mapping[str, SlotItem]
    parts: Mapping[str, PartItem]

    def customer_of(self, item: str) -> Customer:
        """The customer of the item `device/name`. Raises KeyError for an unknown item."""
        return self.customers[(self.slots.get(item) or self.parts[item]).customer]


def resolve_catalogue(fleet: Fleet, profiles: Mapping[str, Profile], *, source: str = "fleet") -> Catalogue:
    """The fleet's catalogue. Raises ConfigError with every problem found; fields name the table and id."""
    problems: list[Problem] = []

    def problem(field: str, message: str) -> None:
        problems.append(Problem(file=source, line=None, field=field, message=message))

    customers = _by_id("customers", fleet.customers, problem)
    suppliers = _by_id("suppliers", fleet.suppliers, problem)
    devices = _by_id("devices", fleet.devices, problem)
    slots: dict[str, SlotItem] = {}
    parts: dict[str, PartItem] = {}
    for device in sorted(devices.values(), key=lambda d: d.id):
        place = f"devices.{device.id}"
        profile = profiles.get(device.profile)
        customer = customers.get(device.customer)
        if customer is None:
            hint = did_you_mean(device.customer, customers)
            problem(f"{place}.customer", f"is {device.customer!r}{hint}: expected the id of a [[customers]] table")
            customer = Customer(
                id=device.customer, experience=Experience.AUTO
            )  # a stand-in, so that its items are checked too
        if profile is None:
            hint = did_you_mean(device.profile, profiles)
            problem(f"{place}.profile", f"is {device.profile!r}{hint}: expected one of {list_names(profiles)}")
            _check_items_without_profile(device, customer, place, suppliers, problem)
            continue
        for name, slot, slot_profile in _slots_of(device, profile, place, problem):
            item = _slot_item(
                device, name, slot, slot_profile, profile, customer, f"{place}.slots.{name}", suppliers, problem
            )
            if item is not None:
                slots[item.key] = item
        for name, part, part_profile in _parts_of(device, profile, place, problem):
            if name in device.slots:
                problem(f"{place}.parts.{name}", "is a slot of the same device too: expected a name of its own")
                continue
            part_item = _part_item(
                device, name, part, part_profile, profile, customer, f"{place}.parts.{name}", suppliers, problem
            )
            parts[part_item.key] = part_item
    if problems:
        raise ConfigError(problems)
    return Catalogue(
        customers=customers, devices=devices, suppliers=suppliers, profiles=dict(profiles), slots=slots, parts=parts
    )


_ProblemReporter = Callable[[str, str], None]
_Row = TypeVar("_Row", Customer, Device, Supplier)


def _by_id(table: str, rows: Sequence[_Row], problem: _ProblemReporter) -> dict[str, _Row]:
    found: dict[str, _Row] = {}
    for row in rows:
        if row.id in found:
            problem(f"{table}.{row.id}", "is there twice: expected ids that differ")
        found[row.id] = row
    return found


def _slots_of(
    device: Device, profile: Profile, place: str, problem: _ProblemReporter
) -> Iterator[tuple[str, Slot, SlotProfile]]:
    for name in dict.fromkeys((*device.slots, *(name for name in profile.slots if name != "*"))):
        slot_profile = profile.slots.get(name) or profile.slots.get("*")
        if slot_profile is None:
            hint = did_you_mean(name, profile.slots)
            message = f"is not a slot of profile {profile.name!r}{hint}: expected one of {list_names(profile.slots)}"
            problem(f"{place}.slots.{name}", message)
            continue
        yield name, device.slots.get(name) or Slot(), slot_profile


def _parts_of(
    device: Device, profile: Profile, place: str, problem: _ProblemReporter
) -> Iterator[tuple[str, Part, PartProfile]]:
    for name in device.parts:
        if name not in profile.parts:
            hint = did_you_mean(name, profile.parts)
            message = f"is not a part of profile {profile.name!r}{hint}: expected one of {list_names(profile.parts)}"
            problem(f"{place}.parts.{name}", message)
    for name, part_profile in profile.parts.items():
        yield name, device.parts.get(name) or Part(), part_profile


def _check_items_without_profile(
    device: Device, customer: Customer, place: str, suppliers: Mapping[str, Supplier], problem: _ProblemReporter
) -> None:
    """The checks of a device's items that need no profile, for a device whose profile is unknown."""
    for kind, named in (("slots", device.slots), ("parts", device.parts)):
        for name, item in named.items():
            _check_suppliers(item.suppliers, suppliers, f"{place}.{kind}.{name}", problem)
            _experience(item.experience, customer, f"{place}.{kind}.{name}", problem)


def _experience(own: Experience | None, customer: Customer, place: str, problem: _ProblemReporter) -> Experience:
    if own is not None and own.rank > customer.experience.rank:
        problem(f"{place}.experience", f"is {own!s}: expected no more than the customer's {customer.experience!s}")
    return own if own is not None else customer.experience


def _check_suppliers(
    named: Sequence[str], known: Mapping[str, Supplier], place: str, problem: _ProblemReporter
) -> None:
    for name in named:
        if name not in known:
            hint = did_you_mean(name, known)
            problem(f"{place}.suppliers", f"names {name!r}{hint}: expected the id of a [[suppliers]] table")


def _slot_item(
    device: Device,
    name: str,
    slot: Slot,
    kind: SlotProfile,
    profile: Profile,
    customer: Customer,
    place: str,
    suppliers: Mapping[str, Supplier],
    problem: _ProblemReporter,
) -> SlotItem | None:
    _check_suppliers(slot.suppliers, suppliers, place, problem)
    experience = _experience(slot.experience, customer, place, problem)
    capacity = slot.capacity if slot.capacity is not None else kind.capacity
    if capacity is None:
        problem(f"{place}.capacity", f"is missing: expected a number, as profile {profile.name!r} has no default")
        return None
    per_day, holding = slot.stockout_cost_per_day, slot.holding_cost_per_day
    return SlotItem(
        key=str(ItemId(device.id, name)),
        device=device.id,
        name=name,
        customer=customer.id,
        profile=profile.name,
        label=kind.label,
        experience=experience,
        suppliers=slot.suppliers,
        signal=kind.signal,
        unit=kind.unit,
        capacity=capacity,
        pack=slot.pack or kind.pack or capacity,
        rate_per_day=kind.rate_per_day if kind.rate_per_day is not None else capacity / 30.0,
        rate_spread=kind.rate_spread,
        noise=kind.noise if kind.noise is not None else capacity * 0.005,
        step=kind.step or 0.0,
        price_max=slot.price_max,
        stockout_cost=slot.stockout_cost,
        stockout_cost_per_day=slot.stockout_cost / 10.0 if per_day is None else per_day,
        holding_cost_per_day=slot.stockout_cost / HOLDING_PARITY_DAYS if holding is None else holding,
        order_cost=slot.order_cost,
        spare_packs=slot.spare_packs,
        look_every_s=profile.look_every_s,
    )


def _part_item(
    device: Device,
    name: str,
    part: Part,
    kind: PartProfile,
    profile: Profile,
    customer: Customer,
    place: str,
    suppliers: Mapping[str, Supplier],
    problem: _ProblemReporter,
) -> PartItem:
    _check_suppliers(part.suppliers, suppliers, place, problem)
    return PartItem(
        key=str(ItemId(device.id, name)),
        device=device.id,
        name=name,
        customer=customer.id,
        profile=profile.name,
        label=kind.label,
        experience=_experience(part.experience, customer, place, problem),
        suppliers=part.suppliers,
        intervals=kind.intervals,
        condition=kind.condition,
        failure_cost=kind.failure_cost if part.failure_cost is None else part.failure_cost,
        service_cost=kind.service_cost if part.service_cost is None else part.service_cost,
        look_every_s=profile.look_every_s,
    )
