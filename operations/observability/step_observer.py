"""Step observer: counts, traces and logs the steps of the reactor and the deliveries of the dispatcher.

It is called after the step or delivery is on disk, and its result is not used: a failure in monitoring loses no decision.
"""

from __future__ import annotations

import structlog

from operations.observability.metrics import Meters
from operations.observability.probes import CountStep
from operations.observability.tracing import StepTimings, Tracer
from reactor.unit_of_work import StepResult
from star.react import Reaction

NS_PER_S = 1e9
_log = structlog.get_logger("reactor")


class StepObserver:
    """Observer of one reactor. count_step: from `watch_reactor`. tracer: None if traces are disabled."""

    def __init__(self, meters: Meters, count_step: CountStep, tracer: Tracer | None = None) -> None:
        self._meters = meters
        self._count_step = count_step
        self._tracer = tracer

    def on_step(self, step: StepResult, timings: StepTimings) -> None:
        """Records a committed step that was not empty."""
        self._count_step(step)
        if self._tracer is not None:
            self._tracer.trace_step(step, timings)
        for decision in step.decisions:
            _log.info(
                "decided",
                need=decision.need,
                decision=decision.id,
                verdict=str(decision.verdict),
                reaction=decision.reaction,
                partition=timings.partition,
                offset=timings.offset,
            )
        for reaction, outcome in step.outcomes:
            _log.info("heard_outcome", reaction=reaction, outcome=outcome.id, result=outcome.result)

    def on_delivery(
        self, reaction: Reaction, target: str, *, tries: int, start_ns: int, end_ns: int, error: str | None
    ) -> None:
        """Records a delivery attempt. tries: failed attempts before; start_ns, end_ns: since the epoch; error: why it failed."""
        self._meters.send_seconds.observe((end_ns - start_ns) / NS_PER_S)
        if self._tracer is not None:
            self._tracer.trace_delivery(reaction, target, tries=tries, start_ns=start_ns, end_ns=end_ns, error=error)
        if error is None:
            _log.info("sent", need=reaction.need, reaction=reaction.id, target=target, tries=tries)
        else:
            _log.warning(
                "failed_to_send", need=reaction.need, reaction=reaction.id, target=target, tries=tries, error=error
            )
