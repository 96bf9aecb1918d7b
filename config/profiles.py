"""Profiles: what a kind of device reports, holds and wears - one TOML file each in config/profiles/, or the user's own.

Here are the tables a profile is made of. Reading the files with line numbers, and resolving a device's items against its
profile, is config/resolve.py's.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from config.fleet import Name, Positive, _Table


class Signal(StrEnum):
    """How a slot's state is reported."""

    LEVEL = "level"  # the value named as the slot is the level
    USAGE = "usage"  # `<slot>_used` increments or a running `<slot>_total`; the level is reckoned


class SlotProfile(_Table):
    """Defaults for slots of this profile. `slots."*"` in the file stands for any slot that a device names."""

    signal: Signal
    unit: str = ""
    capacity: Positive | None = None
    pack: Positive | None = None
    rate_per_day: Annotated[float, Field(gt=0)] | None = None  # typical use, in units a day: the prior of a cold start
    rate_spread: Annotated[float, Field(gt=0)] = 3.0  # the 90 % quantile of the use over the median, across customers
    noise: Annotated[float, Field(ge=0)] | None = None  # standard deviation of one reading, in the unit
    step: Annotated[float, Field(ge=0)] | None = None  # resolution of the reading
    label: dict[str, str] = Field(default_factory=dict)  # by language: what a customer calls it


class Interval(_Table):
    """A service interval: after `limit` of what `counter` counts (a value name reported as `<counter>_used`,
    `<counter>_total`, or counted in a slot's use), or after `days`; whichever comes first."""

    cause: str
    counter: str | None = None
    limit: Positive | None = None
    days: Positive | None = None


class Condition(_Table):
    """How a part is scored from readings: by anomaly of the device's own past, and by a life model where one is named."""

    warm_up: Annotated[int, Field(ge=1)] = 300  # readings before scores count
    life_model: str | None = None
    life_unit: str | None = None
    values: tuple[str, ...] = ()  # empty: every numeric value


class PartProfile(_Table):
    """Defaults for a part of this profile."""

    intervals: tuple[Interval, ...] = ()
    condition: Condition | None = None
    failure_cost: Annotated[float, Field(ge=0)] = 500.0
    service_cost: Annotated[float, Field(ge=0)] = 100.0
    label: dict[str, str] = Field(default_factory=dict)


class Profile(_Table):
    """A kind of device. look_every_s: a silent item is looked at again after so long."""

    name: Name
    description: str
    look_every_s: Annotated[float, Field(ge=60)] = 21_600.0
    slots: dict[str, SlotProfile] = Field(default_factory=dict)
    parts: dict[str, PartProfile] = Field(default_factory=dict)
