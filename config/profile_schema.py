"""Profiles: what a kind of device reports, holds and wears - one TOML file each in config/profiles/, or the user's own.

Here are the tables a profile is made of. Reading the files with line numbers, and resolving a device's items against its
profile, is config/catalogue.py's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from config import validators
from config.fleet import Identifier, Positive, TableModel

Label = Annotated[dict[str, str], AfterValidator(validators.label)]
"""What a customer calls it, by language."""
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SlotName = Annotated[str, AfterValidator(validators.slot_name)]
"""A name, or "*" for any slot that a device names."""


class SlotSignal(StrEnum):
    """How a slot's state is reported."""

    LEVEL = "level"  # the value named as the slot is the level
    USAGE = "usage"  # `<slot>_used` increments or a running `<slot>_total`; the level is reckoned


class RawReadingsMode(StrEnum):
    """Which readings are told to InfluxDB as they came. What is worked out of them is always told."""

    ALL = "all"
    SAMPLED = "sampled"  # of each metric the first reading in each `readings_every_s` of measured time
    OFF = "off"


class SlotProfile(TableModel):
    """Defaults for slots of this profile. `slots."*"` in the file stands for any slot that a device names."""

    signal: SlotSignal
    unit: str = ""
    capacity: Positive | None = None
    pack: Positive | None = None
    rate_per_day: Positive | None = None  # typical use, in units a day: the prior of a cold start
    rate_spread: Annotated[float, Field(ge=1, allow_inf_nan=False)] = (
        3.0  # the 90 % quantile of the use over the median, across customers
    )
    noise: NotNegative | None = None  # standard deviation of one reading, in the unit
    step: NotNegative | None = None  # resolution of the reading
    label: Label = Field(default_factory=dict)


class ServiceInterval(TableModel):
    """A service interval: after `limit` of what `counter` counts (a value name reported as `<counter>_used`,
    `<counter>_total`, or counted in a slot's use), or after `days`; whichever comes first."""

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
    """How a part is scored from readings: by anomaly of the device's own past, and by a life model where one is named."""

    warm_up: Annotated[int, Field(ge=1)] = 300  # readings before scores count
    life_model: str | None = None
    life_unit: str | None = None
    values: tuple[str, ...] = ()  # empty: every numeric value


class PartProfile(TableModel):
    """Defaults for a part of this profile."""

    intervals: tuple[ServiceInterval, ...] = ()
    condition: ConditionMonitoring | None = None
    failure_cost: NotNegative = 500.0
    service_cost: NotNegative = 100.0
    label: Label = Field(default_factory=dict)


class Profile(TableModel):
    """A kind of device. look_every_s: a silent item is looked at again after so long. readings: which go to InfluxDB raw."""

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
