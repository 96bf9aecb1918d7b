"""Traces: OpenTelemetry spans of a need, from the reading behind it to the outcome of the reaction.

No trace context is passed with the records. Trace ids derive from the id of the need, and span ids from need, stage and subject, so
that the spans of all roles form one tree, and a span that is emitted twice after a restart has the same id:

    receive 1 ── analyse 1 ── decide 1 ┬─ send (each attempt, each target)
        │                              └─ outcome
        └─ receive 2 ── analyse 2 ── …        (the need's later decisions)

Which need a reading belongs to is known only after the decision, so the reactor also emits `receive` and `analyse`, with the times
in the facts. Without STARLOOP_OTLP_URL there is no Tracer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reactor.unit_of_work import StepResult
from star.react import Decision, Reaction
from star.repeat import Outcome

Attributes = Mapping[str, str | int | float]
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span to export. error: why the operation failed."""

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
    """Timestamps of a step in milliseconds since the epoch.

    tick_ms: append of the tick to the log. facts_ms: append of the facts to the log. read_ms: facts read by the reactor.
    committed_ms: step on disk. arrived_ms: arrival of the reading; if unknown, the reading's own time is used. partition, offset:
    position of the tick in the input.
    """

    partition: int
    offset: int
    tick_ms: int
    facts_ms: int
    read_ms: int
    committed_ms: int
    arrived_ms: int | None = None


def trace_id_of(need: str) -> int:
    """Trace id of a need."""
    return int.from_bytes(hashlib.sha256(need.encode()).digest()[:16], "big") or 1


def span_id_of(need: str, stage: str, about: str) -> int:
    """Span id of one stage of a need."""
    return int.from_bytes(hashlib.sha256(f"{need}\0{stage}\0{about}".encode()).digest()[:8], "big") or 1


class Tracer:
    """Emits spans through `emit`, which must return at once."""

    def __init__(self, emit: Callable[[Span], None]) -> None:
        self._emit = emit

    def trace_step(self, step: StepResult, timings: StepTimings) -> None:
        """Emits the spans of a committed step: its decisions, the readings behind them, and outcomes."""
        reactions = {reaction.id: reaction for reaction in step.reactions}
        for decision in step.decisions:
            self._trace_decision(decision, reactions.get(decision.reaction or ""), timings)
        for reaction, outcome in step.outcomes:
            self._trace_outcome(reaction, outcome, timings)

    def trace_delivery(
        self, reaction: Reaction, target: str, *, tries: int, start_ns: int, end_ns: int, error: str | None
    ) -> None:
        """Emits the span of a delivery attempt. tries: failed attempts before. error: why this one failed."""
        attributes: Attributes = {
            "starloop.need": reaction.need,
            "starloop.item": f"{reaction.device}/{reaction.item}",
            "starloop.customer": reaction.customer,
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

    def _trace_decision(self, decision: Decision, reaction: Reaction | None, timings: StepTimings) -> None:
        need, number = decision.need, decision.id.rsplit("/", 1)[-1]
        attributes = _decision_attributes(decision, reaction, timings)
        arrived_ms = timings.arrived_ms
        if arrived_ms is None:
            arrived_ms = timings.tick_ms if decision.forecast is None else decision.forecast.reading_ms
        receive, analyse = span_id_of(need, "receive", number), span_id_of(need, "analyse", number)
        decide = span_id_of(need, "decide", decision.reaction or decision.id)
        first = None if number == "1" else span_id_of(need, "receive", "1")
        spans = (
            ("receive", receive, first, arrived_ms, timings.tick_ms),
            ("analyse", analyse, receive, timings.tick_ms, timings.facts_ms),
            ("decide", decide, analyse, timings.read_ms, timings.committed_ms),
        )
        for name, own, parent, start_ms, end_ms in spans:
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

    def _trace_outcome(self, reaction: str, outcome: Outcome, timings: StepTimings) -> None:
        need = reaction.rsplit("/", 2)[0]
        attributes: dict[str, str | int | float] = {
            "starloop.need": need,
            "starloop.reaction": reaction,
            "starloop.outcome": outcome.id,
            "starloop.result": outcome.result,
            "starloop.partition": timings.partition,
            "starloop.offset": timings.offset,
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
                end_ns=max(outcome.arrived_ms, timings.committed_ms) * NS_PER_MS,
                attributes=attributes,
            )
        )


def _decision_attributes(decision: Decision, reaction: Reaction | None, timings: StepTimings) -> Attributes:
    attributes: dict[str, str | int | float] = {
        "starloop.need": decision.need,
        "starloop.item": decision.need.rsplit("/", 1)[0],
        "starloop.decision": decision.id,
        "starloop.verdict": decision.verdict,
        "starloop.partition": timings.partition,
        "starloop.offset": timings.offset,
    }
    if reaction is not None:
        attributes |= {"starloop.reaction": reaction.id, "starloop.customer": reaction.customer}
    if decision.forecast is not None:
        attributes |= {"starloop.model": decision.forecast.model, "starloop.reading_ms": decision.forecast.reading_ms}
    return attributes
