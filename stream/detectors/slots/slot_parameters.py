"""Parameters of slots and of parts' counters, from the fleet in force: the rows of SlotState.fixed."""

from __future__ import annotations

from collections.abc import Mapping

from config.catalogue import PartItem, SlotItem
from config.profile_schema import ServiceInterval, SlotSignal
from stream.detectors import FleetView
from stream.detectors.slots.state_schema import F_ACTIVE, FIXED_NAMES, SlotState

HORIZON_LEAD_TIMES = 4.0
HORIZON_DAYS = 4.0
"""The reorder horizon: so many lead times (90 % quantile, slowest supplier) plus so many days. A slot whose 5 % quantile of the
days to empty is under it is a need: early enough for any order, and so that few slots beyond it have to be decided on."""
LEAD_TIME_UNKNOWN_DAYS = 3.0
"""Lead time of items without a supplier."""
RATE_UNKNOWN_DAYS = 90.0
"""A counter without a known rate is taken to reach its limit in so many days."""
ACTIVE_SLOT, ACTIVE_COUNTER = 1.0, 2.0
"""Values of the `active` parameter: a slot of the fleet, a counter of parts only; 0: neither any more."""


def apply_fleet(slots: SlotState, fleet: FleetView) -> None:
    """Rows and parameters of the fleet's slots, and of counters that its parts' intervals need; of others, inactive ones.

    Does nothing where this view is in force already, so that each detector of slots may call it.
    """
    if slots.fleet is fleet:
        return
    slots.fleet = fleet
    catalogue, table = fleet.catalogue, slots.table
    for key in sorted(catalogue.slots):
        table.add(key, fleet.device_rows[catalogue.slots[key].device])
    counters = [
        (f"{part.device}/{interval.counter}", interval, part)
        for _, part in sorted(catalogue.parts.items())
        for interval in part.intervals
        if interval.counter is not None
    ]
    for key, _, part in counters:
        table.add(key, fleet.device_rows[part.device])
    customers = {table.row(key): item.customer for key, item in catalogue.slots.items()}
    slots.covariates.absences.set_customers(catalogue.customers, customers, len(table))
    slots.reserve()
    slots.fixed[:, F_ACTIVE] = 0.0
    for key, item in catalogue.slots.items():
        horizon_days = reorder_horizon_days(fleet.lead_time_days, item.suppliers)
        slots.fixed[table.row(key)] = slot_parameters(item, horizon_days)
    for key, interval, part in counters:
        if key not in catalogue.slots:
            slots.fixed[table.row(key)] = counter_parameters(interval, part)


def slot_parameters(item: SlotItem, horizon_days: float) -> list[float]:
    """The row of a slot, by FIXED_NAMES."""
    fixed = {
        "capacity": item.capacity,
        "pack": item.pack,
        "noise": item.noise,
        "step": item.step,
        "rate": item.rate_per_day,
        "rate_spread": item.rate_spread,
        "evaluate_every_ms": item.look_every_s * 1000.0,
        "is_counter": float(item.signal is SlotSignal.USAGE),
        "has_spare_packs": float(item.spare_packs),
        "reorder_horizon_days": horizon_days,
        "active": ACTIVE_SLOT,
    }
    return [fixed[name] for name in FIXED_NAMES]


def counter_parameters(interval: ServiceInterval, part: PartItem) -> list[float]:
    """The row of a counter that no slot has, by FIXED_NAMES; the limit of the interval stands for a capacity."""
    limit = interval.limit or 0.0
    fixed = {
        "capacity": limit,
        "pack": limit,
        "rate": limit / (interval.days or RATE_UNKNOWN_DAYS),
        "rate_spread": 3.0,
        "evaluate_every_ms": part.look_every_s * 1000.0,
        "is_counter": 1.0,
        "active": ACTIVE_COUNTER,
    }
    return [fixed.get(name, 0.0) for name in FIXED_NAMES]


def reorder_horizon_days(lead_times: Mapping[str, tuple[float, float]], suppliers: tuple[str, ...]) -> float:
    """The reorder horizon of an item with these suppliers, given the lead times in force."""
    slowest = max((lead_times[name][1] for name in suppliers if name in lead_times), default=LEAD_TIME_UNKNOWN_DAYS)
    return HORIZON_LEAD_TIMES * slowest + HORIZON_DAYS
