"""What the reactor and the sender tell whoever watches, in one call each: counted, traced, and said in the log.

It is told after the fact, when the thing is on disk; nothing rests on it.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from star.react import Reaction
from starloop.watching.metrics import Meters
from starloop.watching.probes import Step as Counted
from starloop.watching.probes import Stepped
from starloop.watching.traces import Passage, Tracer
from starloop.watching.traces import Step as Traced

NS_PER_S = 1e9
_log = structlog.get_logger("reactor")


class Step(Counted, Traced, Protocol):
    """What is read of reactor.turn.Step."""


class Observer:
    """stepped: what `watch_reactor` gave. tracer: None where traces are off."""

    def __init__(self, meters: Meters, stepped: Stepped, tracer: Tracer | None = None) -> None:
        self._meters = meters
        self._count = stepped
        self._tracer = tracer

    def stepped(self, step: Step, passage: Passage) -> None:
        """A step that was not empty is on disk."""
        self._count(step)
        if self._tracer is not None:
            self._tracer.decided(step, passage)
        for decision in step.decisions:
            _log.info(
                "decided",
                need=decision.need,
                decision=decision.id,
                verdict=str(decision.verdict),
                reaction=decision.reaction,
                partition=passage.partition,
                offset=passage.offset,
            )
        for reaction, outcome in step.said:
            _log.info("heard_outcome", reaction=reaction, outcome=outcome.id, result=outcome.result)

    def sent(
        self, reaction: Reaction, target: str, *, tries: int, start_ns: int, end_ns: int, error: str | None
    ) -> None:
        """An attempt to deliver ended. tries: how many failed before; start_ns, end_ns: since the epoch; error: why it failed."""
        self._meters.send_seconds.observe((end_ns - start_ns) / NS_PER_S)
        if self._tracer is not None:
            self._tracer.sent(reaction, target, tries=tries, start_ns=start_ns, end_ns=end_ns, error=error)
        if error is None:
            _log.info("sent", need=reaction.need, reaction=reaction.id, target=target, tries=tries)
        else:
            _log.warning(
                "failed_to_send", need=reaction.need, reaction=reaction.id, target=target, tries=tries, error=error
            )
