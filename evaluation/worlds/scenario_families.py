"""Scenario families, one for each kind of difficulty: sensors and their faults, demand, supply, and customers' limits.

A family is declared in a few lines; scenarios.py, sensor_faults.py and supply_draws.py draw instances of it. A new kind of difficulty
is a new row of FAMILIES. A family's name seeds its random streams, so renaming one changes its scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from simulators.physics.demand import DemandKind
from star.errors import UsageError


class Sensing(StrEnum):
    """What a device reports: the level, increments of consumption, or a running total."""

    LEVEL = "level"
    INCREMENTS = "increments"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSpec:
    """A sensor and its faults.

    noise: standard deviation as a share of the capacity; step: resolution, likewise; drift: error per degree away from 15 °C, likewise;
    temperature: whether it is reported too. meter_error_share: largest scale error of a flow meter that reports increments beside
    the level; None: no meter. readings_per_day: 24 or a divisor of it, or below one on average, at random hours. only_refills: readings
    after refills only. *_per_year: frequency of a fault; *_days: its shortest and longest duration; *_share: of readings.
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
    spike_share: float = 0.0
    resets_per_year: float = 0.0
    offline_per_year: float = 0.0
    offline_days: tuple[float, float] = (2.0, 10.0)
    duplicate_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierSpec:
    """A supplier.

    stated_lead_days: stated 10 % and 90 % quantile of the lead time; true_lead_days: the true ones, None: as stated. tail_share: share
    of deliveries that take `tail_factor` times as long. price: of a pack; quantity_breaks: (packs, share of the single price).
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
    """Suppliers and the fate of orders.

    *_share: of orders; wrong: another quantity than declared; declared: deliveries that are reported. price_steps_per_year: frequency of
    price changes, each to within `price_swing` of the list price.
    """

    suppliers: tuple[SupplierSpec, ...] = (SupplierSpec(name="acme"),)
    lost_share: float = 0.0
    partial_share: float = 0.0
    wrong_share: float = 0.0
    declared_share: float = 1.0
    price_steps_per_year: float = 0.0
    price_swing: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerLimits:
    """Customers' limits. budget: monthly, as a multiple of a month's consumption; price_max: as a multiple of the list price."""

    budget: float | None = None
    price_max: float | None = None
    items_per_customer: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFamily:
    """One kind of difficulty.

    days: simulated; beyond_days: of consumption drawn after the last simulated day, so that the true time to empty is known to the end.
    pack_days: shortest and longest time that a pack lasts on average; initial_level: lowest and highest, as a share of the capacity;
    capacity: of every item, None: drawn. external_refill_declared_share: share of purchases elsewhere that are reported. trace_group:
    group of real traces (consumption_traces.py) used in place of `demand`.
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
    ScenarioFamily(name="steady", description="steady demand, a good sensor"),
    ScenarioFamily(
        name="noisy-level",
        description="a level sensor with noise of 3 % of the capacity",
        sensor=SensorSpec(noise=0.03),
    ),
    ScenarioFamily(
        name="coarse-steps",
        description="a level sensor with a resolution of 5 %",
        sensor=SensorSpec(noise=0.002, step=0.05),
    ),
    ScenarioFamily(
        name="stuck",
        description="a level sensor that sticks for weeks",
        sensor=SensorSpec(stuck_per_year=3.0),
        pack_days=(20.0, 60.0),
    ),
    ScenarioFamily(
        name="drift",
        description="a level sensor that drifts with temperature, which is reported",
        sensor=SensorSpec(drift=0.004, temperature=True),
    ),
    ScenarioFamily(name="spikes", description="air gaps and spikes in the level", sensor=SensorSpec(spike_share=0.03)),
    ScenarioFamily(
        name="increments",
        description="consumption reported as increments",
        sensor=SensorSpec(sensing=Sensing.INCREMENTS),
    ),
    ScenarioFamily(
        name="counter-resets",
        description="consumption reported as a running counter that resets",
        sensor=SensorSpec(sensing=Sensing.TOTAL, resets_per_year=12.0),
    ),
    ScenarioFamily(
        name="level-and-flow",
        description="a coarse, noisy level sensor and a flow meter with an error of up to 15 %",
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
        description="offline for days; the backlog then arrives out of order with its old times",
        sensor=SensorSpec(offline_per_year=12.0),
    ),
    ScenarioFamily(
        name="duplicates", description="a fifth of the readings arrives twice", sensor=SensorSpec(duplicate_share=0.2)
    ),
    ScenarioFamily(name="weekly", description="a weekly pattern", demand=DemandKind.WEEKLY),
    ScenarioFamily(name="yearly", description="a yearly wave", demand=DemandKind.YEARLY),
    ScenarioFamily(
        name="weather",
        description="heating, with the temperature reported",
        demand=DemandKind.HEATING,
        sensor=SensorSpec(temperature=True),
        pack_days=(20.0, 60.0),
    ),
    ScenarioFamily(
        name="trending",
        description="demand that grows or shrinks over the year",
        demand=DemandKind.TRENDING,
        pack_days=(20.0, 60.0),
    ),
    ScenarioFamily(
        name="shifting", description="households whose size changes", demand=DemandKind.SHIFTING, pack_days=(20.0, 60.0)
    ),
    ScenarioFamily(
        name="away-declared", description="declared absences", vacations_per_year=4.0, vacations_declared=True
    ),
    ScenarioFamily(name="away-undeclared", description="undeclared absences", vacations_per_year=4.0),
    ScenarioFamily(
        name="intermittent", description="days without demand", demand=DemandKind.INTERMITTENT, pack_days=(30.0, 80.0)
    ),
    ScenarioFamily(
        name="lumpy", description="rare demand of very different sizes", demand=DemandKind.LUMPY, pack_days=(30.0, 80.0)
    ),
    ScenarioFamily(
        name="cold-start",
        description="the first 60 days of items that start half empty",
        days=60,
        pack_days=(8.0, 25.0),
        initial_level=(0.3, 0.7),
    ),
    ScenarioFamily(
        name="elsewhere", description="packs bought elsewhere, half of them declared", external_refills_per_year=5.0
    ),
    ScenarioFamily(
        name="partial-wrong",
        description="deliveries of less than ordered, or of other quantities than declared",
        supply=SupplySpec(partial_share=0.2, wrong_share=0.1),
    ),
    ScenarioFamily(
        name="late",
        description="lead times twice as long as stated, with a long tail",
        supply=SupplySpec(suppliers=(SupplierSpec(name="acme", true_lead_days=(3.0, 8.0), tail_share=0.05),)),
    ),
    ScenarioFamily(
        name="lost",
        description="one order in twelve never arrives; a second supplier is faster and more expensive",
        supply=SupplySpec(suppliers=_TWO_SUPPLIERS, lost_share=0.08),
    ),
    ScenarioFamily(
        name="untold",
        description="undeclared deliveries, which only the level shows",
        supply=SupplySpec(declared_share=0.0),
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
        description="a tight monthly budget, and a price limit that the first supplier sometimes exceeds",
        supply=SupplySpec(suppliers=_TWO_SUPPLIERS, price_steps_per_year=6.0),
        limits=CustomerLimits(budget=1.6, price_max=1.12),
    ),
    ScenarioFamily(
        name="several-items", description="customers with four items each", limits=CustomerLimits(items_per_customer=4)
    ),
    ScenarioFamily(
        name="all-at-once",
        description="households that change, a coarse sensor that spikes, sticks and goes offline, orders that are late, lost or short",
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
"""Every synthetic family, in the order of the tables."""


FAMILY_NAMES: tuple[str, ...] = tuple(family.name for family in FAMILIES)


def family_named(name: str) -> ScenarioFamily:
    """The synthetic family of that name. Raises UsageError where there is none."""
    for family in FAMILIES:
        if family.name == name:
            return family
    raise UsageError(f"there is no family {name!r}: expected one of {', '.join(FAMILY_NAMES)}")
