"""The tables of a profile: what a kind of device reports, holds and wears, with defaults for its items.

Reading profiles with line numbers is config/profile_file.py's; resolving items against them is config/catalogue.py's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from config import validators
from config.fleet import Identifier, Positive, TableModel

Label = Annotated[dict[str, str], AfterValidator(validators.label)]
"""Name for customers, by language."""
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SlotName = Annotated[str, AfterValidator(validators.slot_name)]
"""A name, or "*" for any slot that a device names."""


class SlotSignal(StrEnum):
    """How a slot's state is reported."""

    LEVEL = "level"  # the value named as the slot is the level
    USAGE = "usage"  # `<slot>_used` increments or a running `<slot>_total`; the level is calculated


class RawReadingsMode(StrEnum):
    """Which raw readings are written to InfluxDB. Results of the analysis are always written."""

    ALL = "all"
    SAMPLED = "sampled"  # of each metric the first reading in each `readings_every_s` of measured time
    OFF = "off"


class SlotProfile(TableModel):
    """Defaults for a slot. `slots."*"` stands for any slot that a device names."""

    signal: SlotSignal
    unit: str = ""
    capacity: Positive | None = None
    pack: Positive | None = None
    rate_per_day: Positive | None = None  # typical use in units a day: the prior before there are readings
    # 90 % quantile of the use across customers, divided by the median: wide, as the prior has to cover every household.
    rate_spread: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 3.0
    noise: NotNegative | None = None  # standard deviation of one reading, in the unit
    step: NotNegative | None = None  # resolution of the reading
    label: Label = Field(default_factory=dict)


class ServiceInterval(TableModel):
    """A service interval: after `limit` of a counter or after `days`, whichever comes first.

    counter: a value reported as `<counter>_used` or `<counter>_total`, or a slot whose use counts.
    """

    cause: str
    counter: str | None = None
    limit: Positive | None = None
    days: Positive | None = None

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if (self.counter is None) != (self.limit is None):
            raise ValueError("expected `counter` and `limit` together")
        if self.counter is None and self.days is None:
            raise ValueError("expected `counter` and `limit`, or `days`, or all three")
        return self


class ConditionMonitoring(TableModel):
    """Condition monitoring of a part: by anomalies against the device's own past, and by a life model where one is named."""

    warm_up: Annotated[int, Field(ge=1)] = 300  # readings until scores count
    life_model: str | None = None
    life_unit: str | None = None
    values: tuple[str, ...] = ()  # names of the values that count; empty: all


class PartProfile(TableModel):
    """Defaults for a part."""

    intervals: tuple[ServiceInterval, ...] = ()
    condition: ConditionMonitoring | None = None
    failure_cost: NotNegative = 500.0
    service_cost: NotNegative = 100.0
    label: Label = Field(default_factory=dict)


class Profile(TableModel):
    """A kind of device. look_every_s: interval of evaluations of an item without readings. readings: see RawReadingsMode."""

    name: Identifier
    description: str
    look_every_s: Annotated[float, Field(ge=60, allow_inf_nan=False)] = 21_600.0
    readings: RawReadingsMode = RawReadingsMode.SAMPLED
    readings_every_s: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 900.0
    slots: dict[SlotName, SlotProfile] = Field(default_factory=dict)
    parts: dict[Identifier, PartProfile] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_item_names(self) -> Self:
        if not self.slots and not self.parts:
            raise ValueError("expected at least one slot or part")
        for name in self.slots.keys() & self.parts.keys():
            raise ValueError(f"expected names that differ, and {name!r} is a slot and a part")
        return self
