"""The dispatcher: sends what is due in the outbox to suppliers and customers, until they have it or it is given up.

Delivery is at least once and in order: rows with the same need and target form a line, of which only the first that is not
finished is sent, so that a cancellation never overtakes its order. A row is marked after the other side has it; a kill in
between sends it again under the same id, which is the idempotency key. Of several processes over one store each sends what
was decided in the partitions that it owns; one that loses a partition finishes what it has in flight, so that after a
hand-over both may send a row, with the same id and body. While the store is away nothing new is sent, and what was sent
meanwhile is remembered and marked when the store is back.

What to send was decided before, in the store's transaction; how to send it is the channels'. An order that can't be
delivered to its supplier is reported through the input log as an outcome `failed`, so that the reactor replaces it.

Retries are scheduled by rows (`due_ms`, `tries`) rather than by a retry library: back-off has to survive a restart and to
leave the line's place to other rows meanwhile, which a loop around one call can't.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import structlog

from config.catalogue import Catalogue
from reactor.delivery.limits import CircuitBreakers, DeliveryLimits, backoff_s
from reactor.delivery.presend_check import Postpone, check_before_send
from reactor.delivery.routes import customer_of_target, is_supplier_route
from reactor.store.rows import OutboxRow
from star.errors import InputError, StoreDamaged, StoreError, Unavailable
from star.ports import Clock
from star.react import Reaction, ReactionType
from star.repeat import NeedState, Outcome

log = structlog.get_logger()


class Outbox(Protocol):
    """The store's outbox. Each call is one short transaction, durable on return; calls are made in worker threads."""

    def due(self, now_ms: int, limit: int, partitions: Collection[int] | None = None) -> Sequence[OutboxRow]:
        """Rows that are due, longest due first; of each line (need, target) only the first that is not finished.

        partitions: only rows decided there; None: all.
        """
        ...

    def mark_sent(self, row: int, now_ms: int) -> None:
        """The other side has it: the row is finished."""
        ...

    def mark_failed(self, row: int, error: str, *, next_try_ms: int | None) -> None:
        """Counts a failed attempt. next_try_ms None: the row is finished as given up, and a person sees `error`."""
        ...


class Router(Protocol):
    """Sends a reaction to a target of routes.py: reactor/delivery/channel_router.py, or a test's."""

    async def send(self, reaction: Reaction, target: str) -> None:
        """One attempt. Raises Unavailable where a retry may succeed, InputError where it can't."""
        ...


class DeliveryObserver(Protocol):
    """Called after every attempt. Times in nanoseconds since the epoch; error: why it failed, or None."""

    def __call__(
        self, reaction: Reaction, target: str, *, tries: int, start_ns: int, end_ns: int, error: str | None
    ) -> None: ...


class OutboxDispatcher:
    """Sends the outbox's rows. One for each process; `run` it as a task, `wake` it when rows or partitions were added.

    report: appends an outcome to the input log and returns when it is on disk. catalogue: the fleet in force. need_state: the
    state of a need by its id, None for an unknown one. partitions: those that this process owns now; None: all. observer:
    is called after each attempt.
    """

    def __init__(
        self,
        outbox: Outbox,
        router: Router,
        *,
        catalogue: Callable[[], Catalogue],
        report: Callable[[Outcome], Awaitable[None]],
        need_state: Callable[[str], NeedState | None],
        clock: Clock,
        limits: DeliveryLimits | None = None,
        partitions: Callable[[], Collection[int]] | None = None,
        observer: DeliveryObserver | None = None,
    ) -> None:
        self._observer = observer
        self._outbox = outbox
        self._router = router
        self._catalogue = catalogue
        self._report = report
        self._need_state = need_state
        self._clock = clock
        self._limits = limits or DeliveryLimits()
        self._partitions = partitions
        self._sent_unmarked: dict[int, int] = {}
        """Partitions of rows that were sent and could not be marked yet, by row id."""
        self._ordering_keys: set[tuple[str, str]] = set()
        self._in_flight_by_target: Counter[str] = Counter()
        self._due_rows: list[OutboxRow] = []
        self._reload_due = True
        self._circuits = CircuitBreakers(self._limits)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Sends until it is cancelled. Rows in flight at that moment are sent again after the next start.

        While the store is away it retries every poll_s. Raises StoreDamaged.
        """
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                await self._dispatch_or_wait_for_store(group)
                try:
                    async with asyncio.timeout(self._limits.poll_s):
                        await self._wake.wait()
                except TimeoutError:
                    self._reload_due = True

    async def run_once(self) -> int:
        """One pass: attempts what is due now and waits for the results. Returns the number of rows attempted."""
        self._reload_due = True
        async with asyncio.TaskGroup() as group:
            return await self._dispatch(group)

    def wake(self) -> None:
        """Starts the next pass at once, as rows may be due."""
        self._reload_due = True
        self._wake.set()

    async def _dispatch_or_wait_for_store(self, group: asyncio.TaskGroup) -> None:
        try:
            await self._dispatch(group)
        except StoreDamaged:
            raise
        except StoreError as error:
            log.warning("found_store_away", error=str(error), retry_s=self._limits.poll_s)
            await asyncio.sleep(self._limits.poll_s)
            self._reload_due = True

    async def _dispatch(self, group: asyncio.TaskGroup) -> int:
        """Starts a task for each due row within the limits and returns their number. The others stay ready."""
        owned = None if self._partitions is None else frozenset(self._partitions())
        if self._reload_due or not self._due_rows:
            # A row that is sent during the query may still be returned as due: its line was busy before.
            busy = set(self._ordering_keys)
            self._reload_due = False
            self._due_rows = [row for row in await self._load_due(owned) if (row.need, row.target) not in busy]
        if owned is not None:
            self._due_rows = [row for row in self._due_rows if row.partition in owned]
            self._sent_unmarked = {id_: number for id_, number in self._sent_unmarked.items() if number in owned}
        started, waiting = 0, []
        for row in self._due_rows:
            if not self._has_capacity(row):
                waiting.append(row)
                continue
            self._ordering_keys.add((row.need, row.target))
            self._in_flight_by_target[row.target] += 1
            group.create_task(self._deliver(row))
            started += 1
        self._due_rows = waiting
        return started

    async def _load_due(self, owned: frozenset[int] | None) -> Sequence[OutboxRow]:
        if owned is not None and not owned:
            return []
        return await asyncio.to_thread(self._outbox.due, self._clock.now_ms(), self._limits.due_rows_max, owned)

    def _has_capacity(self, row: OutboxRow) -> bool:
        limits = self._limits
        return (
            len(self._ordering_keys) < limits.in_flight_max
            and self._in_flight_by_target[row.target] < limits.in_flight_per_target_max
            and (row.need, row.target) not in self._ordering_keys
        )

    async def _deliver(self, row: OutboxRow) -> None:
        try:
            await self._attempt(row)
        except StoreDamaged:
            raise
        except StoreError as error:
            log.warning("put_off_delivery", reaction=row.reaction.id, target=row.target, error=str(error))
            await asyncio.sleep(self._limits.poll_s)  # The line stays busy meanwhile: no immediate second attempt.
        finally:
            self._ordering_keys.discard((row.need, row.target))
            self._in_flight_by_target[row.target] -= 1
            if not self._in_flight_by_target[row.target]:
                del self._in_flight_by_target[row.target]
            self._wake.set()

    async def _attempt(self, row: OutboxRow) -> None:
        now_ms = self._clock.now_ms()
        if row.id in self._sent_unmarked:
            await self._mark_sent(row)
            return
        if self._is_exhausted(row, now_ms):
            await self._give_up(row, f"given up after {row.tries} tries; the last: {row.error or 'none was made'}")
            return
        if customer_of_target(row.target) is not None and not await self._passes_presend_check(row, now_ms):
            return
        resting = self._circuits.error_while_open(row.target, now_ms)
        if resting is not None:
            await self._reschedule(row, Unavailable(resting))
            return
        started_ns = time.time_ns()
        try:
            await self._router.send(row.reaction, row.target)
        except Unavailable as error:
            self._notify_observer(row, started_ns, str(error))
            self._circuits.record_failure(row.target, str(error), self._clock.now_ms())
            await self._reschedule(row, error)
        except InputError as error:
            self._notify_observer(row, started_ns, str(error))
            await self._give_up(row, str(error))
        else:
            self._notify_observer(row, started_ns, None)
            self._circuits.record_success(row.target)
            self._sent_unmarked[row.id] = row.partition
            await self._mark_sent(row)

    def _notify_observer(self, row: OutboxRow, started_ns: int, error: str | None) -> None:
        if self._observer is not None:
            self._observer(
                row.reaction, row.target, tries=row.tries, start_ns=started_ns, end_ns=time.time_ns(), error=error
            )

    async def _mark_sent(self, row: OutboxRow) -> None:
        """Marks the row; where the store is away it is due again later and marked then, without a second attempt."""
        await asyncio.to_thread(self._outbox.mark_sent, row.id, self._clock.now_ms())
        self._sent_unmarked.pop(row.id, None)

    async def _passes_presend_check(self, row: OutboxRow, now_ms: int) -> bool:
        """The pre-send check of a contact; postpones or discards it where the check says so."""
        need = await asyncio.to_thread(self._need_state, row.need)
        found = check_before_send(row.reaction, self._catalogue(), need, now_ms)
        if found is not None:
            until_ms = found.until_ms if isinstance(found, Postpone) else None
            await asyncio.to_thread(self._outbox.mark_failed, row.id, found.reason, next_try_ms=until_ms)
        return found is None

    def _is_exhausted(self, row: OutboxRow, now_ms: int) -> bool:
        """Whether the row has reached its limit of attempts or age."""
        to_person = customer_of_target(row.target) is not None
        age_max_ms = self._limits.contact_age_max_ms if to_person else self._limits.age_max_ms
        return row.tries >= self._limits.attempts_max or now_ms - row.reaction.at_ms >= age_max_ms

    async def _reschedule(self, row: OutboxRow, error: Unavailable) -> None:
        """Schedules the next attempt. After the last one the row is due at once and is given up then: a kill loses nothing."""
        tries, now_ms = row.tries + 1, self._clock.now_ms()
        last = tries >= self._limits.attempts_max
        wait_s = 0.0 if last else max(backoff_s(row, tries, self._limits), error.retry_after_s or 0.0)
        next_try_ms = now_ms + round(wait_s * 1000)
        await asyncio.to_thread(self._outbox.mark_failed, row.id, str(error), next_try_ms=next_try_ms)

    async def _give_up(self, row: OutboxRow, error: str) -> None:
        """Finishes a row as given up. The outcome is logged first: a kill in between reports it again under the same id."""
        reaction = row.reaction
        orders = reaction.type in (ReactionType.ORDER_REQUESTED, ReactionType.MAINTENANCE_BOOKED)
        if orders and is_supplier_route(row.target, reaction, self._catalogue()):
            await self._report(failed_delivery_outcome(reaction, self._clock.now_ms()))
        await asyncio.to_thread(self._outbox.mark_failed, row.id, error, next_try_ms=None)
        log.warning("gave_up_delivery", reaction=reaction.id, target=row.target, tries=row.tries, error=error)


def failed_delivery_outcome(reaction: Reaction, now_ms: int) -> Outcome:
    """The outcome of an order that could not be delivered to its supplier. Its id derives from the order's: it counts once."""
    return Outcome(
        at_ms=now_ms, arrived_ms=now_ms, id=f"undelivered/{reaction.id}", result="failed", reaction=reaction.id
    )
