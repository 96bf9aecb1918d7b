"""The reactor as a running part: facts in, one transaction a step, and what is to be sent waits in the store's outbox."""

from __future__ import annotations

import asyncio

import structlog

from config.resolve import Catalogue
from reactor.engine import Engine
from reactor.store.sql import SqlStore
from star.analyse import Facts
from star.errors import StoreDamaged, StoreError
from star.react import Reaction

RETRY_MIN_S, RETRY_MAX_S = 0.2, 5.0
"""Between tries to commit a step while the store can't take it (a full disk, a database that is away)."""
_log = structlog.get_logger("reactor")


class Reactor:
    """The engine over its store. first: the fleet at the start of the log; what changed since, the store remembers.

    input_end: the offset that the input's next record will get. Raises StoreAhead where the store has consumed more.
    """

    def __init__(self, store: SqlStore, first: Catalogue, input_end: int) -> None:
        self._store = store
        self._engine = Engine(first, store.load(log_end=input_end))

    def lead_time(self, item: str) -> tuple[float, float]:
        """The 10 % and 90 % lead times, in days, of an order of the item placed now."""
        return self._engine.lead_time(item)

    async def handle(self, facts: Facts) -> tuple[Reaction, ...]:
        """Decides on a tick's facts; what it gives is on disk. Facts that were consumed before give nothing."""
        if facts.offset <= self._engine.state.offset:
            return ()
        step = self._engine.step(facts)
        retry_s = RETRY_MIN_S
        while True:
            try:
                if step.is_empty:
                    self._store.commit(step, self._engine.catalogue)  # as a rule it writes nothing: not worth a thread
                else:
                    await asyncio.to_thread(self._store.commit, step, self._engine.catalogue)
                return step.reactions
            except StoreDamaged:
                raise
            except StoreError as error:
                _log.error("put_off_commit", error=str(error), offset=facts.offset, retry_s=retry_s)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
