"""Invariants of decisions over any course of events, held by a checker that shares no code with the reactor.

They are: at most one outstanding order an item; no order against consent, price, budget, absence or experience; contacts within
the limit and outside quiet hours; every need that lives is acted on, refused with a reason, or will be looked at again; the
same facts give the same steps; a kill between commits changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from evaluation.invariants import InvariantChecker
from reactor.engine import Engine
from reactor.state import Need, State, TimerKind
from reactor.store import MemoryStore
from star.analyse import DetectedNeed, Facts, NeedKind, RefillStage, RefillUpdate
from star.records import Event, FleetChange, Request, SupplierTerms
from star.repeat import NeedState, Outcome
from star.times import HOUR_MS
from tests.support.household import ACME, START_MS, catalogue_of, forecast_of

BOLT: dict[str, Any] = {"id": "bolt", "lead_time_days": [0.5, 1.0], "price": 640.0}
SLOTS = ("oil", "salt")
ITEMS = ("tank-7/oil", "tank-7/salt", "tank-7/descaling")
ASKS = ("offer", "request", "reminder")
_SETTLED = (NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED)


def a_catalogue(draw: Any) -> Any:
    """A home with two slots and a part, and choices at random."""
    customer = {
        "experience": draw(st.sampled_from(["respond", "offer", "coach", "auto", "auto"])),
        "contacts_per_week_max": draw(st.integers(0, 3)),
        "quiet_hours": draw(st.sampled_from([None, ["22:00", "07:30"], ["01:00", "05:00"]])),
        "timezone": draw(st.sampled_from(["Europe/Paris", "America/New_York", "Asia/Kathmandu"])),
        "budget_per_month": draw(st.sampled_from([None, 700.0, 1500.0])),
        "consents": draw(st.sampled_from([["replenishment", "maintenance"], ["replenishment"], ["maintenance"]])),
        "away": draw(st.sampled_from([[], [["2026-03-10", "2026-03-20"]], [["2026-03-05", "2026-03-05"]]])),
        "language": draw(st.sampled_from(["en", "fr"])),
    }
    slot = {
        "capacity": 1500.0,
        "pack": 500.0,
        "suppliers": draw(st.sampled_from([["acme"], ["acme", "bolt"], ["bolt"], []])),
        "price_max": draw(st.sampled_from([None, 630.0, 650.0])),
        "stockout_cost": 400.0,
        "spare_packs": draw(st.booleans()),
    }
    device = {
        "id": "tank-7",
        "customer": "maria",
        "profile": "both",
        "slots": dict.fromkeys(SLOTS, slot),
        "parts": {"descaling": {"suppliers": ["bolt"]}},
    }
    return catalogue_of(customer, suppliers=[ACME, BOLT], device=device, own_profile=PROFILE)


PROFILE: dict[str, Any] = {
    "name": "both",
    "description": "A tank with a part",
    "slots": {"*": {"signal": "level"}},
    "parts": {
        "descaling": {
            "failure_cost": 180.0,
            "service_cost": 80.0,
            "intervals": [{"cause": "months", "days": 91.0}],
        }
    },
}


class HouseholdHistory(RuleBasedStateMachine):
    """One home, and whatever happens to it."""

    @initialize(data=st.data())
    def move_in(self, data: Any) -> None:
        self.catalogue = a_catalogue(data.draw)
        self.store = MemoryStore()
        self.engine = Engine(self.catalogue)
        self.checker = InvariantChecker(self.catalogue)
        self.now_ms = START_MS
        self.offset = 0
        self.said = 0
        self.facts: list[Facts] = []
        self.reactions: list[Any] = []
        self.events: list[Event] = []
        self.refills: list[RefillUpdate] = []
        self.seen: dict[str, DetectedNeed] = {}

    @rule(days=st.floats(0.0, 90.0), item=st.sampled_from(ITEMS), trust=st.sampled_from([1.0, 0.3]))
    def sees(self, days: float, item: str, trust: float) -> None:
        kind = NeedKind.SERVICE_DUE if item.endswith("descaling") else NeedKind.RUN_OUT
        forecast = forecast_of(days, self.now_ms, item=item, trust=trust)
        self.seen[item] = DetectedNeed(item=item, at_ms=self.now_ms, kind=kind, cause="level", forecast=forecast)

    @rule(days=st.floats(0.0, 6.0), item=st.sampled_from(ITEMS))
    def sees_it_low(self, days: float, item: str) -> None:
        self.sees(days, item, 1.0)

    @rule(
        place=st.integers(0, 30),
        result=st.sampled_from(["accepted", "declined", "cancelled", "delivered", "done", "failed"]),
        quantity=st.sampled_from([None, 500.0, 100.0, 0.0]),
        timing=st.sampled_from([None, "early", "late", "right"]),
    )
    def says(self, place: int, result: Any, quantity: float | None, timing: Any) -> None:
        """An outcome of one of the latest reactions, whether it fits or not."""
        if self.reactions:
            reaction = self.reactions[-1 - place % len(self.reactions)]
            self._outcome(result, reaction=reaction.id, quantity=quantity, timing=timing)

    @rule(place=st.integers(0, 3))
    def accepts(self, place: int) -> None:
        """The most usual answer."""
        asked = [reaction for reaction in self.reactions if reaction.id.split("/")[3] in ASKS]
        if asked:
            self._outcome("accepted", reaction=asked[-1 - place % len(asked)].id)

    @rule()
    def delivers(self) -> None:
        """The latest order is delivered."""
        orders = [reaction for reaction in self.reactions if reaction.id.split("/")[3] in ("order", "booking")]
        if orders:
            self._outcome("delivered", reaction=orders[-1].id)

    @rule(item=st.sampled_from(ITEMS), quantity=st.sampled_from([None, 500.0, 50.0]))
    def refills(self, item: str, quantity: float | None) -> None:
        result = "serviced" if item.endswith("descaling") else "refilled"
        self._outcome(result, item=item, quantity=quantity)

    @rule(item=st.sampled_from(ITEMS[:2]), quantity=st.sampled_from([30.0, 480.0, 1100.0]))
    def rises(self, item: str, quantity: float) -> None:
        seen = RefillUpdate(item=item, at_ms=self.now_ms, stage=RefillStage.CONFIRMED, quantity=quantity)
        self.refills.append(seen)

    @rule(item=st.sampled_from(ITEMS), quantity=st.sampled_from([None, 700.0]))
    def asks(self, item: str, quantity: float | None) -> None:
        self.said += 1
        self.events.append(Request(at_ms=self.now_ms, id=f"asked-{self.said}", item=item, quantity=quantity))
        self.checker.on_request(item)

    @rule(
        supplier=st.sampled_from(["acme", "bolt"]),
        price=st.sampled_from([None, 600.0, 640.0, 655.0]),
        lead=st.sampled_from([None, (2.0, 5.0), (4.0, 9.0), (0.5, 1.0)]),
    )
    def changes_terms(self, supplier: str, price: float | None, lead: tuple[float, float] | None) -> None:
        self.events.append(SupplierTerms(at_ms=self.now_ms, supplier=supplier, price=price, lead_time_days=lead))
        if lead is not None:
            self.checker.on_supplier_terms(supplier, lead)

    @rule(hours=st.sampled_from([0.1, 1.0, 6.0, 12.0, 24.0, 72.0, 168.0]))
    def time_passes(self, hours: float) -> None:
        self._tick()
        self.now_ms += round(hours * HOUR_MS)

    @rule(days=st.tuples(*[st.floats(0.0, 9.0)] * 3), hours=st.sampled_from([1.0, 6.0, 24.0]))
    def an_evaluation_passes(self, days: tuple[float, ...], hours: float) -> None:
        """All of it is low, and time passes."""
        for left, item in zip(days, ITEMS, strict=True):
            self.sees(left, item, 1.0)
        self.time_passes(hours)

    @rule(days=st.tuples(*[st.floats(0.0, 4.0)] * 3))
    def a_week_passes(self, days: tuple[float, ...]) -> None:
        """With an evaluation each day; the latest order is delivered after three."""
        for day in range(7):
            if day == 3:
                self.delivers()
            self.an_evaluation_passes(days, 24.0)

    @rule()
    def is_killed(self) -> None:
        """All that was not committed is gone."""
        self.engine = Engine(self.catalogue, self.store.load())

    @rule()
    def chooses_a_language(self) -> None:
        """A choice that changes nothing that the checker knows."""
        tables = '{"customers": [{"id": "maria", "language": "fr"}]}'
        self.events.append(FleetChange(at_ms=self.now_ms, tables=tables))

    def _outcome(self, result: Any, **fields: Any) -> None:
        self.said += 1
        outcome = Outcome(at_ms=self.now_ms, arrived_ms=self.now_ms, id=f"said-{self.said}", result=result, **fields)
        self.events.append(outcome)
        named = outcome.reaction
        if named is not None and result == "cancelled":  # a cancellation's own "cancelled" ends its order
            named = next((r.order for r in self.reactions if r.id == named and r.order is not None), named)
        self.checker.on_outcome({"reaction": named, "result": result})

    def _tick(self) -> None:
        self.offset += 1
        facts = Facts(
            offset=self.offset,
            at_ms=self.now_ms,
            events=tuple(self.events),
            refills=tuple(self.refills),
            needs=tuple(replace(self.seen[item], at_ms=self.now_ms) for item in sorted(self.seen)),
        )
        self.events, self.refills, self.seen = [], [], {}
        twin = Engine(self.catalogue, self.store.load()).step(Facts.unpack(facts.pack()))
        step = self.engine.step(facts)
        assert twin == step, "a step of the same facts after a kill has another result"
        self.store.commit(step, self.engine.catalogue)
        self.facts.append(facts)
        self.reactions += step.reactions
        for reaction in step.reactions:
            self.checker.on_reaction(reaction.replay_line())
        assert all(reaction.at_ms <= self.now_ms for reaction in step.reactions)
        assert [r.at_ms for r in step.reactions] == sorted(r.at_ms for r in step.reactions)
        self._no_need_is_forgotten(facts)

    def _no_need_is_forgotten(self, facts: Facts) -> None:
        """Every live need has a reaction, a refusal with its reason, or a moment at which it is evaluated again."""
        state = self.engine.state
        for need in state.needs.values():
            if need.state in (NeedState.ORDERED, NeedState.CANCELLING, NeedState.BOOKED):
                order = state.open_order(need.item)
                assert order is not None, need
                assert f"{TimerKind.DEADLINE}:{order.id}" in state.timers, need
            elif need.state is NeedState.OPEN:
                assert _is_answered(state, need), need
            else:
                assert need.decisions > 0, need

    @invariant()
    def no_invariant_is_violated(self) -> None:
        if hasattr(self, "checker"):
            assert self.checker.violations == []

    def teardown(self) -> None:
        """The same facts from an empty state give the same reactions."""
        if not hasattr(self, "facts"):
            return
        engine = Engine(self.catalogue)
        again = [reaction for facts in self.facts for reaction in engine.step(facts).reactions]
        assert again == self.reactions


def _is_answered(state: State, need: Need) -> bool:
    timers = (f"{kind}:{need.id}" in state.timers for kind in (TimerKind.HOLD, TimerKind.REEVALUATE))
    return any(timers) or need.decisions > 0


TestHouseholdHistory = HouseholdHistory.TestCase
TestHouseholdHistory.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
