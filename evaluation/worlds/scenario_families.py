"""Families of worlds by kind of trouble: what is sensed and how badly, how things are used, who supplies, what is allowed.

A family is a few lines of declaration; what they mean is drawn in scenarios.py, sensor_faults.py and supply_draws.py.
A new trouble is a new
row of FAMILIES. Nothing in the service may know them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from simulators.physics.demand import DemandKind
from star.errors import UsageError


class Sensing(StrEnum):
    """What a device reports of a slot."""

    LEVEL = "level"
    INCREMENTS = "increments"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSpec:
    """How a level or a count is reported. noise, step: shares of the capacity; drift: such a share a degree away from 15 °C.

    counts_too: beside the level, increments of use are told, by a meter that is wrong by up to such a share. readings_per_day: 24
    or a divisor, or fewer than one on average, at random hours. only_refills: after a refill alone.
    """

    sensing: Sensing = Sensing.LEVEL
    noise: float = 0.004
    step: float = 0.0
    drift: float = 0.0
    temperature: bool = False
    meter_error_share: float | None = None
    readings_per_day: float = 4.0
    only_refills: bool = False
    stuck_per_year: float = 0.0
    stuck_days: tuple[float, float] = (10.0, 28.0)
    spike_share: float = 0.0  # share of readings
    resets_per_year: float = 0.0
    offline_per_year: float = 0.0
    offline_days: tuple[float, float] = (2.0, 10.0)
    duplicate_share: float = 0.0  # share of readings


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierSpec:
    """A supplier. stated: 10 % and 90 % lead times in days as it says them; truly: as they are; price: of a pack.

    tail, tail_times: a share of deliveries takes so many times longer. breaks: (packs, share of the price) sold as products.
    """

    name: str
    stated_lead_days: tuple[float, float] = (1.5, 4.0)
    true_lead_days: tuple[float, float] | None = None
    tail_share: float = 0.0
    tail_factor: float = 3.0
    price: float = 20.0
    quantity_breaks: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplySpec:
    """What becomes of orders. Shares of orders; price_steps_per_year: how often a price moves, by up to price_swing."""

    suppliers: tuple[SupplierSpec, ...] = (SupplierSpec(name="acme"),)
    lost_share: float = 0.0
    partial_share: float = 0.0
    wrong_share: float = 0.0
    declared_share: float = 1.0
    price_steps_per_year: float = 0.0
    price_swing: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerLimits:
    """What customers allow. budget: a month's, as a multiple of what is used in a month; price_max: of a pack's list price."""

    budget: float | None = None
    price_max: float | None = None
    items_per_customer: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFamily:
    """One kind of trouble. pack_days: how long a pack lasts, from and to; level: at the start, share of the capacity.

    beyond_days: of use known after the last one lived, so that the true time to empty is known to the end. traces: the group of
    real traces (traces.py) that are the demand in place of `demand`.
    """

    name: str
    description: str
    demand: DemandKind = DemandKind.STEADY
    sensor: SensorSpec = field(default_factory=SensorSpec)
    supply: SupplySpec = field(default_factory=SupplySpec)
    limits: CustomerLimits = field(default_factory=CustomerLimits)
    days: int = 365
    beyond_days: int = 400
    pack_days: tuple[float, float] = (12.0, 40.0)
    initial_level: tuple[float, float] = (0.5, 1.0)
    capacity: float | None = None
    vacations_per_year: float = 0.0
    vacations_declared: bool = False
    external_refills_per_year: float = 0.0
    external_refill_declared_share: float = 0.5
    trace_group: str = ""


_TWO_SUPPLIERS = (SupplierSpec(name="acme"), SupplierSpec(name="swift", stated_lead_days=(0.5, 1.5), price=21.5))

FAMILIES: tuple[ScenarioFamily, ...] = (
    ScenarioFamily(name="steady", description="even use, a good gauge"),
    ScenarioFamily(
        name="noisy-level", description="a gauge with noise of 3 % of the capacity", sensor=SensorSpec(noise=0.03)
    ),
    ScenarioFamily(
        name="coarse-steps", description="a gauge in steps of 5 %", sensor=SensorSpec(noise=0.002, step=0.05)
    ),
    ScenarioFamily(
        name="stuck",
        description="a gauge that sticks for weeks",
        sensor=SensorSpec(stuck_per_year=3.0),
        pack_days=(20.0, 60.0),
    ),
    ScenarioFamily(
        name="drift",
        description="a gauge that drifts with the temperature, which is reported",
        sensor=SensorSpec(drift=0.004, temperature=True),
    ),
    ScenarioFamily(name="spikes", description="air gaps and spikes in the level", sensor=SensorSpec(spike_share=0.03)),
    ScenarioFamily(
        name="increments", description="use reported as increments", sensor=SensorSpec(sensing=Sensing.INCREMENTS)
    ),
    ScenarioFamily(
        name="counter-resets",
        description="use reported as a running counter that starts again",
        sensor=SensorSpec(sensing=Sensing.TOTAL, resets_per_year=12.0),
    ),
    ScenarioFamily(
        name="level-and-flow",
        description="a coarse, noisy level beside a flow meter that is wrong by up to 15 %",
        sensor=SensorSpec(noise=0.02, step=0.05, meter_error_share=0.15),
    ),
    ScenarioFamily(
        name="sparse",
        description="a few readings a month",
        sensor=SensorSpec(readings_per_day=0.15),
        pack_days=(20.0, 60.0),
    ),
    ScenarioFamily(
        name="only-refills",
        description="a reading after each refill and none between",
        sensor=SensorSpec(only_refills=True),
        pack_days=(15.0, 40.0),
    ),
    ScenarioFamily(
        name="offline",
        description="offline for days, then told out of order with old times",
        sensor=SensorSpec(offline_per_year=12.0),
    ),
    ScenarioFamily(
        name="duplicates", description="a fifth of the readings comes twice", sensor=SensorSpec(duplicate_share=0.2)
    ),
    ScenarioFamily(name="weekly", description="a week's pattern", demand=DemandKind.WEEKLY),
    ScenarioFamily(name="yearly", description="a year's wave", demand=DemandKind.YEARLY),
    ScenarioFamily(
        name="weather",
        description="heating, with the temperature reported",
        demand=DemandKind.HEATING,
        sensor=SensorSpec(temperature=True),
        pack_days=(20.0, 60.0),
    ),
    ScenarioFamily(
        name="trending",
        description="use that grows or shrinks over the year",
        demand=DemandKind.TRENDING,
        pack_days=(20.0, 60.0),
    ),
    ScenarioFamily(
        name="shifting", description="households whose size changes", demand=DemandKind.SHIFTING, pack_days=(20.0, 60.0)
    ),
    ScenarioFamily(
        name="away-declared", description="vacations that are declared", vacations_per_year=4.0, vacations_declared=True
    ),
    ScenarioFamily(name="away-undeclared", description="vacations that nobody tells of", vacations_per_year=4.0),
    ScenarioFamily(
        name="intermittent", description="days without use", demand=DemandKind.INTERMITTENT, pack_days=(30.0, 80.0)
    ),
    ScenarioFamily(
        name="lumpy", description="rare use of very different sizes", demand=DemandKind.LUMPY, pack_days=(30.0, 80.0)
    ),
    ScenarioFamily(
        name="cold-start",
        description="the first 60 days of items that begin half empty",
        days=60,
        pack_days=(8.0, 25.0),
        initial_level=(0.3, 0.7),
    ),
    ScenarioFamily(
        name="elsewhere", description="packs bought elsewhere, half of them told", external_refills_per_year=5.0
    ),
    ScenarioFamily(
        name="partial-wrong",
        description="deliveries of less than was ordered, or of other quantities than was said",
        supply=SupplySpec(partial_share=0.2, wrong_share=0.1),
    ),
    ScenarioFamily(
        name="late",
        description="lead times twice as long as stated, with a long tail",
        supply=SupplySpec(suppliers=(SupplierSpec(name="acme", true_lead_days=(3.0, 8.0), tail_share=0.05),)),
    ),
    ScenarioFamily(
        name="lost",
        description="one order in twelve never comes; a second supplier is fast and dearer",
        supply=SupplySpec(suppliers=_TWO_SUPPLIERS, lost_share=0.08),
    ),
    ScenarioFamily(
        name="untold", description="deliveries that only the level tells of", supply=SupplySpec(declared_share=0.0)
    ),
    ScenarioFamily(
        name="prices",
        description="prices that change; two suppliers",
        supply=SupplySpec(suppliers=_TWO_SUPPLIERS, price_steps_per_year=8.0),
    ),
    ScenarioFamily(
        name="quantity-breaks",
        description="three packs at once cost 15 % less",
        supply=SupplySpec(suppliers=(SupplierSpec(name="acme", quantity_breaks=((3, 0.85),)),)),
        capacity=100.0,
    ),
    ScenarioFamily(
        name="mandate",
        description="a tight monthly budget and a highest price that the first supplier sometimes exceeds",
        supply=SupplySpec(suppliers=_TWO_SUPPLIERS, price_steps_per_year=6.0),
        limits=CustomerLimits(budget=1.6, price_max=1.12),
    ),
    ScenarioFamily(
        name="several-items", description="customers with four items each", limits=CustomerLimits(items_per_customer=4)
    ),
    ScenarioFamily(
        name="all-at-once",
        description="households that change, a coarse gauge that spikes, sticks and goes offline, orders that are late, lost or short",
        demand=DemandKind.SHIFTING,
        sensor=SensorSpec(
            noise=0.01, step=0.02, spike_share=0.01, stuck_per_year=1.0, offline_per_year=5.0, duplicate_share=0.05
        ),
        supply=SupplySpec(
            suppliers=(SupplierSpec(name="acme", true_lead_days=(2.0, 6.0), tail_share=0.03), _TWO_SUPPLIERS[1]),
            lost_share=0.04,
            partial_share=0.05,
            declared_share=0.8,
            price_steps_per_year=3.0,
        ),
        vacations_per_year=2.0,
        external_refills_per_year=2.0,
        pack_days=(15.0, 50.0),
    ),
)
"""Every family, in the order in which tables show them."""


FAMILY_NAMES: tuple[str, ...] = tuple(one.name for one in FAMILIES)


def family_named(name: str) -> ScenarioFamily:
    """The family of that name. Raises UsageError."""
    for one in FAMILIES:
        if one.name == name:
            return one
    raise UsageError(f"there is no family {name!r}: expected one of {', '.join(FAMILY_NAMES)}")
