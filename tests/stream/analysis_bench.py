"""Small fleets for the tests of the stream, a registry of names in memory, and a stand-in model with a fixed spread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from config.catalogue import Catalogue, resolve_catalogue
from config.fleet import Customer, Device, Experience, Fleet, Slot, Supplier
from config.profile_file import load_profiles
from config.profile_schema import Profile
from star.analyse import DetectedNeed, Facts, Forecast, RefillUpdate
from star.ports import Scorer
from star.records import Record, Tick
from star.repeat import Outcome, Result
from star.sense import Readings
from star.times import utc
from stream.analysis import Analysis
from stream.detectors.slots.run_out import RunOutDetector
from stream.detectors.slots.state_schema import SlotState

DAY_MS = 86_400_000
START_MS = 1_760_000_000_000 // DAY_MS * DAY_MS
PROFILES = load_profiles()


class NamesInMemory:
    """Numbers in order of appearance."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def number(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    def name(self, number: int) -> str:
        return self._names[number]


class FixedSpread:
    """A plain log-normal forecast about the item's own mean rate: for tests of what is around the model."""

    name = "fixed-spread@1:test"

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        spread = np.array([-0.6, -0.42, -0.33, -0.17, 0.0, 0.17, 0.33, 0.42, 0.6], dtype=np.float32)
        return np.broadcast_to(spread, (features.shape[0], 9)).copy()


def single_customer_fleet(
    devices: Sequence[Device], away: tuple[tuple[str, str], ...] = (), profiles: Mapping[str, Profile] | None = None
) -> Catalogue:
    """The devices of one customer, away for some days, with one supplier that takes two to four days."""
    consents = ("replenishment", "maintenance")
    return resolve_catalogue(
        Fleet(
            customers=(Customer(id="maria", experience=Experience.AUTO, consents=consents, away=away),),
            devices=tuple(devices),
            suppliers=(Supplier(id="acme", lead_time_days=(2.0, 4.0), price=10.0),),
        ),
        {**PROFILES, **(profiles or {})},
    )


def tank(name: str, **slot: object) -> Device:
    """A level tank with one slot `oil` of 1,000."""
    fields = {"capacity": 1000.0, "pack": 500.0, "suppliers": ("acme",)} | slot
    return Device(id=name, customer="maria", profile="level-tank", slots={"oil": Slot(**fields)})  # type: ignore[arg-type]


def counter(name: str, **slot: object) -> Device:
    """A usage counter with one slot `beans` of 100."""
    fields = {"capacity": 100.0, "pack": 100.0, "suppliers": ("acme",)} | slot
    return Device(id=name, customer="maria", profile="usage-counter", slots={"beans": Slot(**fields)})  # type: ignore[arg-type]


class AnalysisBench:
    """An analysis fed by names of metrics, with its offsets; `facts` are those of every tick, `refills`, `needs` all of theirs."""

    def __init__(
        self,
        *devices: Device,
        scorer: Scorer | None = None,
        away: tuple[tuple[str, str], ...] = (),
        profiles: Mapping[str, Profile] | None = None,
    ) -> None:
        self.names = NamesInMemory()
        catalogue = single_customer_fleet(devices, away, profiles)
        self.analysis = Analysis(catalogue, self.names, scorer or FixedSpread())
        self.offset = 0
        self.facts: list[Facts] = []

    def send(
        self, name: str, day: float, value: float, *, arrived: float | None = None, boot: int = -1, seq: int = -1
    ) -> None:
        """One reading of metric `name`, measured at `day`."""
        row = (
            self.names.number(name),
            at_day_ms(day),
            at_day_ms(day if arrived is None else arrived),
            float(value),
            boot,
            seq,
        )
        self.ingest(Readings.from_rows([row]))

    def ingest(self, record: Record) -> Facts | None:
        self.offset += 1
        return self.analysis.ingest(self.offset, record)

    def tick(self, day: float) -> Facts:
        facts = self.ingest(Tick(at_ms=at_day_ms(day)))
        assert facts is not None
        self.facts.append(facts)
        return facts

    def send_with_ticks(self, name: str, readings: Iterable[tuple[float, float]]) -> None:
        """Readings of (day, value), each with a tick."""
        for day, value in readings:
            self.send(name, day, value)
            self.tick(day)

    def declare(self, item: str | None, day: float, result: Result = "refilled", **fields: object) -> None:
        """An outcome about `item`, or about the reaction among `fields`."""
        given = {"id": f"{item}-{day}", "item": item, "at_ms": at_day_ms(day), "arrived_ms": at_day_ms(day)} | fields
        self.ingest(Outcome(result=result, **given))  # type: ignore[arg-type]

    @property
    def run_out(self) -> RunOutDetector:
        return self.analysis.detector(RunOutDetector)

    @property
    def slots(self) -> SlotState:
        return self.run_out.slots

    @property
    def refills(self) -> list[RefillUpdate]:
        return [refill for facts in self.facts for refill in facts.refills]

    def stages(self) -> list[str]:
        """What was told of refills, in order, without those only provisional and taken back."""
        return [str(refill.stage) for refill in self.refills if refill.stage in ("confirmed", "declared")]

    def needs(self, item: str) -> list[DetectedNeed]:
        return [need for facts in self.facts for need in facts.needs if need.item == item]

    def forecast(self, item: str, day: float) -> Forecast:
        return next(f for f in self.analysis.forecasts(at_day_ms(day)) if f.item == item)


def date_of(day: int) -> str:
    """The date of a day after the start."""
    return utc(at_day_ms(day)).date().isoformat()


def at_day_ms(day: float) -> int:
    """Milliseconds of a moment, in days after the start."""
    return START_MS + round(day * DAY_MS)
