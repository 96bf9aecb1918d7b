"""Traces: the way of a need from the reading it rests on to what came of the reaction, as OpenTelemetry spans.

Nothing is passed along with the records. The trace's id derives from the need's, a span's from need, stage and what it is about,
so that every role says its own part and the parts are one tree, also after a restart that says one twice:

    receive 1 ── analyse 1 ── decide 1 ┬─ send (each attempt, each target)
        │                              └─ outcome
        └─ receive 2 ── analyse 2 ── …        (the need's later decisions)

Until the reactor has decided nobody knows which need a reading belongs to, so it is the reactor that says `receive` and `analyse`
too, by the times in the facts. With STARLOOP_OTLP_URL unset there is no Tracer at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from star.react import Decision, Reaction
from star.repeat import Outcome

Attributes = Mapping[str, str | int | float]
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span as it is to be exported. error: why it failed."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    start_ns: int
    end_ns: int
    attributes: Attributes = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimings:
    """When the facts of a step were where, in milliseconds since the epoch.

    tick_ms: the tick that saw them was put into the log; facts_ms: the analysis' facts were in the log; read_ms: the reactor had
    them; committed_ms: its step was on disk. arrived_ms: the reading's arrival where it is known; else the reading's own time
    stands for it. partition, offset: of the tick in the input.
    """

    partition: int
    offset: int
    tick_ms: int
    facts_ms: int
    read_ms: int
    committed_ms: int
    arrived_ms: int | None = None


class TracedStep(Protocol):
    """What is read of reactor.unit_of_work.Step."""

    @property
    def decisions(self) -> Sequence[Decision]: ...
    @property
    def reactions(self) -> Sequence[Reaction]: ...
    @property
    def outcomes(self) -> Sequence[tuple[str, Outcome]]: ...


def trace_id_of(need: str) -> int:
    """The trace of a need."""
    return int.from_bytes(hashlib.sha256(need.encode()).digest()[:16], "big") or 1


def span_id_of(need: str, stage: str, about: str) -> int:
    """The span of one stage of a need."""
    return int.from_bytes(hashlib.sha256(f"{need}\0{stage}\0{about}".encode()).digest()[:8], "big") or 1


class Tracer:
    """Says what was done as spans, through `emit`, which takes them and returns at once."""

    def __init__(self, emit: Callable[[Span], None]) -> None:
        self._emit = emit

    def trace_step(self, step: TracedStep, timings: StepTimings) -> None:
        """A step of the reactor is on disk: what it decided, what that rests on, and the outcomes it heard."""
        reactions = {reaction.id: reaction for reaction in step.reactions}
        for decision in step.decisions:
            self._trace_decision(decision, reactions.get(decision.reaction or ""), timings)
        for reaction, outcome in step.outcomes:
            self._trace_outcome(reaction, outcome, timings)

    def trace_delivery(
        self, reaction: Reaction, target: str, *, tries: int, start_ns: int, end_ns: int, error: str | None
    ) -> None:
        """An attempt to deliver was made. tries: how many failed before. error: why this one did."""
        attributes: Attributes = {
            "starloop.need": reaction.need,
            "starloop.item": f"{reaction.device}/{reaction.item}",
            "operations.privacy": reaction.customer,
            "starloop.reaction": reaction.id,
            "starloop.reaction_type": str(reaction.type),
            "starloop.target": target,
            "starloop.tries": tries,
        }
        self._emit(
            Span(
                name="send",
                trace_id=trace_id_of(reaction.need),
                span_id=span_id_of(reaction.need, "send", f"{reaction.id}>{target}>{tries}"),
                parent_id=span_id_of(reaction.need, "decide", reaction.id),
                start_ns=start_ns,
                end_ns=max(end_ns, start_ns),
                attributes=attributes,
                error=error,
            )
        )

    def _trace_decision(self, decision: Decision, reaction: Reaction | None, passage: StepTimings) -> None:
        need, number = decision.need, decision.id.rsplit("/", 1)[-1]
        attributes = _decision_attributes(decision, reaction, passage)
        arrived_ms = passage.arrived_ms
        if arrived_ms is None:
            arrived_ms = passage.tick_ms if decision.forecast is None else decision.forecast.reading_ms
        receive, analyse = span_id_of(need, "receive", number), span_id_of(need, "analyse", number)
        decide = span_id_of(need, "decide", decision.reaction or decision.id)
        first = None if number == "1" else span_id_of(need, "receive", "1")
        parts = (
            ("receive", receive, first, arrived_ms, passage.tick_ms),
            ("analyse", analyse, receive, passage.tick_ms, passage.facts_ms),
            ("decide", decide, analyse, passage.read_ms, passage.committed_ms),
        )
        for name, own, parent, start_ms, end_ms in parts:
            self._emit(
                Span(
                    name=name,
                    trace_id=trace_id_of(need),
                    span_id=own,
                    parent_id=parent,
                    start_ns=start_ms * NS_PER_MS,
                    end_ns=max(start_ms, end_ms) * NS_PER_MS,
                    attributes=attributes,
                )
            )

    def _trace_outcome(self, reaction: str, outcome: Outcome, passage: StepTimings) -> None:
        need = reaction.rsplit("/", 2)[0]
        attributes: dict[str, str | int | float] = {
            "starloop.need": need,
            "starloop.reaction": reaction,
            "starloop.outcome": outcome.id,
            "starloop.result": outcome.result,
            "starloop.partition": passage.partition,
            "starloop.offset": passage.offset,
        }
        if outcome.timing is not None:
            attributes["starloop.timing"] = outcome.timing
        self._emit(
            Span(
                name="outcome",
                trace_id=trace_id_of(need),
                span_id=span_id_of(need, "outcome", outcome.id),
                parent_id=span_id_of(need, "decide", reaction),
                start_ns=outcome.arrived_ms * NS_PER_MS,
                end_ns=max(outcome.arrived_ms, passage.committed_ms) * NS_PER_MS,
                attributes=attributes,
            )
        )


def _decision_attributes(decision: Decision, reaction: Reaction | None, passage: StepTimings) -> Attributes:
    attributes: dict[str, str | int | float] = {
        "starloop.need": decision.need,
        "starloop.item": decision.need.rsplit("/", 1)[0],
        "starloop.decision": decision.id,
        "starloop.verdict": decision.verdict,
        "starloop.partition": passage.partition,
        "starloop.offset": passage.offset,
    }
    if reaction is not None:
        attributes |= {"starloop.reaction": reaction.id, "operations.privacy": reaction.customer}
    if decision.forecast is not None:
        attributes |= {"starloop.model": decision.forecast.model, "starloop.reading_ms": decision.forecast.reading_ms}
    return attributes
