"""Commands about what is kept of items, suppliers and the fleet, and about what the step reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from config.catalogue import Catalogue
from reactor.state import FleetOverride, LeadTimeSample
from star.repeat import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDelivery:
    """Learn a lead time. was_lost: the order had been given up as lost."""

    supplier: str
    ordered_ms: int
    delivered_ms: int
    was_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLoss:
    """Learn that an order of the supplier was lost."""

    supplier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFailure:
    """Learn that the supplier could not deliver an order."""

    supplier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPrice:
    """A supplier's new price of a pack, stated at at_ms."""

    supplier: str
    price: float
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLeadTime:
    """A supplier's new 10 % and 90 % lead times, stated at stated_ms; what was learned before then no longer counts."""

    supplier: str
    lead_days: tuple[float, float]
    stated_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DropTerms:
    """The fleet file's row of the supplier is in force again, in place of terms that came by event.

    stated_ms: when the row came, where its lead times are others than those in force before; None: they are the same.
    """

    supplier: str
    stated_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivateLearned:
    """Put in force what deliveries have taught about the supplier, None where nothing has."""

    supplier: str
    learned: LeadTimeSample | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactSamples:
    """Delete the samples and keep `merged`, if any, in their place."""

    deleted: Sequence[LeadTimeSample]
    merged: LeadTimeSample | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectRefill:
    """A delivery or refill was declared: the rise of the level that follows is not another one."""

    item: str
    quantity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearExpectedRefill:
    """A refill was detected: the declared one is no longer expected."""

    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFeedback:
    """What the customer said of the moment of a delivery or contact."""

    item: str
    timing: Literal["early", "right", "late"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceCatalogue:
    """Put a changed fleet in force. overrides: the changed rows, kept for the next start."""

    catalogue: Catalogue
    overrides: Sequence[FleetOverride]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOutcome:
    """Keep the outcome with the reaction that it is about."""

    reaction: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportUnmatched:
    """An event is about nothing known. text: one sentence."""

    text: str
