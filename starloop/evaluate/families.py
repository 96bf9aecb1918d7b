"""Families of worlds by kind of trouble: what is sensed and how badly, how things are used, who supplies, what is allowed.

A family is a few lines of declaration; what they mean is drawn in lives.py, gauges.py and supplies.py. A new trouble is a new
row of FAMILIES. Nothing in the service may know them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from simulators.physics.demand import Kind
from star.errors import UsageError


class Sensing(StrEnum):
    """What a device reports of a slot."""

    LEVEL = "level"
    INCREMENTS = "increments"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """How a level or a count is reported. noise, step: shares of the capacity; drift: such a share a degree away from 15 °C.

    counts_too: beside the level, increments of use are told, by a meter that is wrong by up to such a share. readings_per_day: 24
    or a divisor, or fewer than one on average, at random hours. only_refills: after a refill alone.
    """

    sensing: Sensing = Sensing.LEVEL
    noise: float = 0.004
    step: float = 0.0
    drift: float = 0.0
    temperature: bool = False
    counts_too: float | None = None
    readings_per_day: float = 4.0
    only_refills: bool = False
    stuck_per_year: float = 0.0
    stuck_days: tuple[float, float] = (10.0, 28.0)
    spikes: float = 0.0  # share of readings
    resets_per_year: float = 0.0
    offline_per_year: float = 0.0
    offline_days: tuple[float, float] = (2.0, 10.0)
    duplicates: float = 0.0  # share of readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """A supplier. stated: 10 % and 90 % lead times in days as it says them; truly: as they are; price: of a pack.

    tail, tail_times: a share of deliveries takes so many times longer. breaks: (packs, share of the price) sold as products.
    """

    name: str
    stated: tuple[float, float] = (1.5, 4.0)
    truly: tuple[float, float] | None = None
    tail: float = 0.0
    tail_times: float = 3.0
    price: float = 20.0
    breaks: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What becomes of orders. Shares of orders; price_steps_per_year: how often a price moves, by up to price_swing."""

    sellers: tuple[Seller, ...] = (Seller(name="acme"),)
    lost: float = 0.0
    partial: float = 0.0
    wrong: float = 0.0
    told: float = 1.0
    price_steps_per_year: float = 0.0
    price_swing: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """What customers allow. budget: a month's, as a multiple of what is used in a month; price_max: of a pack's list price."""

    budget: float | None = None
    price_max: float | None = None
    items_per_customer: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of trouble. pack_days: how long a pack lasts, from and to; level: at the start, share of the capacity.

    beyond_days: of use known after the last one lived, so that the true time to empty is known to the end. traces: the group of
    real traces (traces.py) that are the demand in place of `demand`.
    """

    name: str
    what: str
    demand: Kind = Kind.STEADY
    gauge: Gauge = field(default_factory=Gauge)
    supply: Supply = field(default_factory=Supply)
    mandate: Mandate = field(default_factory=Mandate)
    days: int = 365
    beyond_days: int = 400
    pack_days: tuple[float, float] = (12.0, 40.0)
    level: tuple[float, float] = (0.5, 1.0)
    capacity: float | None = None
    vacations_per_year: float = 0.0
    declared: bool = False
    elsewhere_per_year: float = 0.0
    elsewhere_told: float = 0.5
    traces: str = ""


_TWO = (Seller(name="acme"), Seller(name="swift", stated=(0.5, 1.5), price=21.5))

FAMILIES: tuple[Family, ...] = (
    Family(name="steady", what="even use, a good gauge"),
    Family(name="noisy-level", what="a gauge with noise of 3 % of the capacity", gauge=Gauge(noise=0.03)),
    Family(name="coarse-steps", what="a gauge in steps of 5 %", gauge=Gauge(noise=0.002, step=0.05)),
    Family(name="stuck", what="a gauge that sticks for weeks", gauge=Gauge(stuck_per_year=3.0), pack_days=(20.0, 60.0)),
    Family(
        name="drift",
        what="a gauge that drifts with the temperature, which is reported",
        gauge=Gauge(drift=0.004, temperature=True),
    ),
    Family(name="spikes", what="air gaps and spikes in the level", gauge=Gauge(spikes=0.03)),
    Family(name="increments", what="use reported as increments", gauge=Gauge(sensing=Sensing.INCREMENTS)),
    Family(
        name="counter-resets",
        what="use reported as a running counter that starts again",
        gauge=Gauge(sensing=Sensing.TOTAL, resets_per_year=12.0),
    ),
    Family(
        name="level-and-flow",
        what="a coarse, noisy level beside a flow meter that is wrong by up to 15 %",
        gauge=Gauge(noise=0.02, step=0.05, counts_too=0.15),
    ),
    Family(name="sparse", what="a few readings a month", gauge=Gauge(readings_per_day=0.15), pack_days=(20.0, 60.0)),
    Family(
        name="only-refills",
        what="a reading after each refill and none between",
        gauge=Gauge(only_refills=True),
        pack_days=(15.0, 40.0),
    ),
    Family(
        name="offline",
        what="offline for days, then told out of order with old times",
        gauge=Gauge(offline_per_year=12.0),
    ),
    Family(name="duplicates", what="a fifth of the readings comes twice", gauge=Gauge(duplicates=0.2)),
    Family(name="weekly", what="a week's pattern", demand=Kind.WEEKLY),
    Family(name="yearly", what="a year's wave", demand=Kind.YEARLY),
    Family(
        name="weather",
        what="heating, with the temperature reported",
        demand=Kind.HEATING,
        gauge=Gauge(temperature=True),
        pack_days=(20.0, 60.0),
    ),
    Family(
        name="trending",
        what="use that grows or shrinks over the year",
        demand=Kind.TRENDING,
        pack_days=(20.0, 60.0),
    ),
    Family(name="shifting", what="households whose size changes", demand=Kind.SHIFTING, pack_days=(20.0, 60.0)),
    Family(name="away-declared", what="vacations that are declared", vacations_per_year=4.0, declared=True),
    Family(name="away-undeclared", what="vacations that nobody tells of", vacations_per_year=4.0),
    Family(name="intermittent", what="days without use", demand=Kind.INTERMITTENT, pack_days=(30.0, 80.0)),
    Family(name="lumpy", what="rare use of very different sizes", demand=Kind.LUMPY, pack_days=(30.0, 80.0)),
    Family(
        name="cold-start",
        what="the first 60 days of items that begin half empty",
        days=60,
        pack_days=(8.0, 25.0),
        level=(0.3, 0.7),
    ),
    Family(name="elsewhere", what="packs bought elsewhere, half of them told", elsewhere_per_year=5.0),
    Family(
        name="partial-wrong",
        what="deliveries of less than was ordered, or of other quantities than was said",
        supply=Supply(partial=0.2, wrong=0.1),
    ),
    Family(
        name="late",
        what="lead times twice as long as stated, with a long tail",
        supply=Supply(sellers=(Seller(name="acme", truly=(3.0, 8.0), tail=0.05),)),
    ),
    Family(
        name="lost",
        what="one order in twelve never comes; a second supplier is fast and dearer",
        supply=Supply(sellers=_TWO, lost=0.08),
    ),
    Family(name="untold", what="deliveries that only the level tells of", supply=Supply(told=0.0)),
    Family(
        name="prices",
        what="prices that change; two suppliers",
        supply=Supply(sellers=_TWO, price_steps_per_year=8.0),
    ),
    Family(
        name="quantity-breaks",
        what="three packs at once cost 15 % less",
        supply=Supply(sellers=(Seller(name="acme", breaks=((3, 0.85),)),)),
        capacity=100.0,
    ),
    Family(
        name="mandate",
        what="a tight monthly budget and a highest price that the first supplier sometimes exceeds",
        supply=Supply(sellers=_TWO, price_steps_per_year=6.0),
        mandate=Mandate(budget=1.6, price_max=1.12),
    ),
    Family(name="several-items", what="customers with four items each", mandate=Mandate(items_per_customer=4)),
    Family(
        name="all-at-once",
        what="households that change, a coarse gauge that spikes, sticks and goes offline, orders that are late, lost or short",
        demand=Kind.SHIFTING,
        gauge=Gauge(noise=0.01, step=0.02, spikes=0.01, stuck_per_year=1.0, offline_per_year=5.0, duplicates=0.05),
        supply=Supply(
            sellers=(Seller(name="acme", truly=(2.0, 6.0), tail=0.03), _TWO[1]),
            lost=0.04,
            partial=0.05,
            told=0.8,
            price_steps_per_year=3.0,
        ),
        vacations_per_year=2.0,
        elsewhere_per_year=2.0,
        pack_days=(15.0, 50.0),
    ),
)
"""Every family, in the order in which tables show them."""


NAMES: tuple[str, ...] = tuple(one.name for one in FAMILIES)


def family(name: str) -> Family:
    """The family of that name. Raises UsageError."""
    for one in FAMILIES:
        if one.name == name:
            return one
    raise UsageError(f"there is no family {name!r}: expected one of {', '.join(NAMES)}")
