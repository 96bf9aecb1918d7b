"""The sender: takes what is due from the outbox and carries it to suppliers and people, until they have it or it is
given up.

At least once, and never out of order: rows with the same need and target are one line, of which only the first waits to
be sent, so a cancellation never overtakes its order. A row is marked only after the other side has it; a kill in
between sends it again, with the same id. Of several processes over one store each carries what was decided in the partitions it
owns; one that loses a partition ends what it has in flight, so that after a hand-over both may send a row, under the same id
and with the same body, by which the other side knows it. While the store is away nothing new is sent, and what was sent
meanwhile is remembered and marked when it is back. What is to be sent was decided before, in the store's transaction; how a way
out works is the channels'. What can't be brought to its supplier comes back through the input log as an outcome
`failed`, so that the reactor replaces it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from config.catalogue import Catalogue
from config.settings import Settings
from reactor.delivery.presend_check import Postpone, check_before_send
from reactor.delivery.routes import customer_of_target, is_supplier_route, supplier_of_target
from star.errors import InputError, StoreDamaged, StoreError, Unavailable
from star.ports import Channel as Channel
from star.ports import Clock
from star.react import Reaction, ReactionType
from star.repeat import NeedState, Outcome
from star.times import DAY_MS

log = structlog.get_logger()


class OutboxEntry(Protocol):
    """One reaction on its way to one target. tries: how often it failed; error: how it failed last. partition: where it was
    decided."""

    @property
    def id(self) -> int: ...
    @property
    def partition(self) -> int: ...
    @property
    def need(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def reaction(self) -> Reaction: ...
    @property
    def tries(self) -> int: ...
    @property
    def error(self) -> str | None: ...


class Outbox(Protocol):
    """The store's outbox. Every call is one short transaction, durable on return; they are made in worker threads."""

    def due(self, now_ms: int, limit: int, partitions: Collection[int] | None = None) -> Sequence[OutboxEntry]:
        """Rows whose time has come, longest due first: of each line (need, target) only the first that is not at its end.

        partitions: only what was decided there; None: all.
        """
        ...

    def mark_sent(self, row: int, now_ms: int) -> None:
        """The other side has it."""
        ...

    def mark_failed(self, row: int, error: str, *, next_try_ms: int | None) -> None:
        """A try failed: counts it. next_try_ms None: no more tries, the row's end is `given_up` and a person sees `error`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLimits:
    """Limits of sending. Waits between tries double from wait_first_s to wait_max_s, each 20 % more or less by its id."""

    attempts_max: int = 20
    age_max_ms: int = 3 * DAY_MS
    contact_age_max_ms: int = DAY_MS
    backoff_first_s: float = 5.0
    backoff_max_s: float = 6 * 3600.0
    in_flight_max: int = 32
    in_flight_per_target_max: int = 8
    due_rows_max: int = 1_000
    circuit_failures: int = 3
    circuit_open_s: float = 10.0
    poll_s: float = 1.0

    @classmethod
    def from_settings(cls, settings: Settings) -> DeliveryLimits:
        """The limits that this installation is set to."""
        return cls(
            attempts_max=settings.send_attempts_max,
            backoff_first_s=settings.send_backoff_s,
            backoff_max_s=settings.send_backoff_max_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """The ways out: to the reactions topic, to suppliers, to customers."""

    mqtt: Channel
    suppliers: Channel
    customers: Channel

    def for_target(self, target: str) -> Channel:
        """The way to a target of reactor/delivery/routes.py."""
        if supplier_of_target(target) is not None:
            return self.suppliers
        return self.mqtt if customer_of_target(target) is None else self.customers


class DeliveryObserver(Protocol):
    """Is told of every attempt to deliver, after it. Times in nanoseconds since the epoch; error: why it failed, or None."""

    def __call__(
        self, reaction: Reaction, target: str, *, tries: int, start_ns: int, end_ns: int, error: str | None
    ) -> None: ...


@dataclass(slots=True)
class _CircuitBreaker:
    """How a target has answered lately: failures in a row, and until when it is left alone."""

    failures: int = 0
    open_until_ms: int = 0
    error: str = ""


class OutboxDispatcher:
    """Carries the outbox's rows. One a process; `run` it as a task, `nudge` it when rows were added or partitions came.

    report: appends an outcome to the input log and returns when it is on disk. catalogue: the fleet as it is now.
    need_state: the state of a need by its id, None where it is not known. partitions: those that this process owns now; None:
    it is alone and carries all.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Channels,
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
        self._channels = channels
        self._catalogue = catalogue
        self._report = report
        self._need_state = need_state
        self._clock = clock
        self._limits = limits or DeliveryLimits()
        self._partitions = partitions
        self._sent_unmarked: dict[
            int, int
        ] = {}  # rows the other side has without the store's knowing, and their partitions
        self._ordering_keys: set[tuple[str, str]] = set()
        self._in_flight_by_target: Counter[str] = Counter()
        self._due_entries: list[OutboxEntry] = []
        self._reload_due = True
        self._circuits: dict[str, _CircuitBreaker] = {}
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Sends until it is cancelled. Rows in flight at that moment are sent again after the next start.

        While the store is away it asks again every poll_s. Raises StoreDamaged.
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
        """One pass: tries what is due now, waits for the answers, and gives the number of rows tried."""
        self._reload_due = True
        async with asyncio.TaskGroup() as group:
            return await self._dispatch(group)

    def wake(self) -> None:
        """Says that rows may be due: the next pass starts at once."""
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
        """Starts a task for each due row whose target has room; gives their number. What found no room stays ready."""
        owned = None if self._partitions is None else frozenset(self._partitions())
        if self._reload_due or not self._due_entries:
            # A row that is sent while the store is being asked may still come back as due: its line was busy before.
            busy = set(self._ordering_keys)
            self._reload_due = False
            self._due_entries = [row for row in await self._load_due(owned) if (row.need, row.target) not in busy]
        if owned is not None:
            self._due_entries = [row for row in self._due_entries if row.partition in owned]
            self._sent_unmarked = {id_: number for id_, number in self._sent_unmarked.items() if number in owned}
        started, waiting = 0, []
        for row in self._due_entries:
            if not self._has_capacity(row):
                waiting.append(row)
                continue
            self._ordering_keys.add((row.need, row.target))
            self._in_flight_by_target[row.target] += 1
            group.create_task(self._deliver(row))
            started += 1
        self._due_entries = waiting
        return started

    async def _load_due(self, owned: frozenset[int] | None) -> Sequence[OutboxEntry]:
        if owned is not None and not owned:
            return []
        return await asyncio.to_thread(self._outbox.due, self._clock.now_ms(), self._limits.due_rows_max, owned)

    def _has_capacity(self, row: OutboxEntry) -> bool:
        limits = self._limits
        return (
            len(self._ordering_keys) < limits.in_flight_max
            and self._in_flight_by_target[row.target] < limits.in_flight_per_target_max
            and (row.need, row.target) not in self._ordering_keys
        )

    async def _deliver(self, row: OutboxEntry) -> None:
        try:
            await self._attempt(row)
        except StoreDamaged:
            raise
        except StoreError as error:
            log.warning("put_off_delivery", reaction=row.reaction.id, target=row.target, error=str(error))
            await asyncio.sleep(self._limits.poll_s)  # The line stays busy: what the store forgot is not tried at once.
        finally:
            self._ordering_keys.discard((row.need, row.target))
            self._in_flight_by_target[row.target] -= 1
            if not self._in_flight_by_target[row.target]:
                del self._in_flight_by_target[row.target]
            self._wake.set()

    async def _attempt(self, row: OutboxEntry) -> None:
        now_ms = self._clock.now_ms()
        if row.id in self._sent_unmarked:
            await self._mark_sent(row)
            return
        if self._is_exhausted(row, now_ms):
            await self._give_up(row, f"given up after {row.tries} tries; the last: {row.error or 'none was made'}")
            return
        if customer_of_target(row.target) is not None and not await self._passes_presend_check(row, now_ms):
            return
        health = self._circuits.get(row.target)
        if health is not None and health.open_until_ms > now_ms:
            await self._reschedule(row, Unavailable(health.error))
            return
        started_ns = time.time_ns()
        try:
            await self._channels.for_target(row.target).send(row.reaction)
        except Unavailable as error:
            self._notify_observer(row, started_ns, str(error))
            self._record_failure(row.target, str(error))
            await self._reschedule(row, error)
        except InputError as error:
            self._notify_observer(row, started_ns, str(error))
            await self._give_up(row, str(error))
        else:
            self._notify_observer(row, started_ns, None)
            self._circuits.pop(row.target, None)
            self._sent_unmarked[row.id] = row.partition
            await self._mark_sent(row)

    def _notify_observer(self, row: OutboxEntry, started_ns: int, error: str | None) -> None:
        if self._observer is not None:
            self._observer(
                row.reaction, row.target, tries=row.tries, start_ns=started_ns, end_ns=time.time_ns(), error=error
            )

    async def _mark_sent(self, row: OutboxEntry) -> None:
        """Where the store is away the row comes back as due, and is marked then: the other side is not asked twice."""
        await asyncio.to_thread(self._outbox.mark_sent, row.id, self._clock.now_ms())
        self._sent_unmarked.pop(row.id, None)

    async def _passes_presend_check(self, row: OutboxEntry, now_ms: int) -> bool:
        """The last look before a contact; puts it off, or ends it, where this is not the moment."""
        need = await asyncio.to_thread(self._need_state, row.need)
        found = check_before_send(row.reaction, self._catalogue(), need, now_ms)
        if found is not None:
            until_ms = found.until_ms if isinstance(found, Postpone) else None
            await asyncio.to_thread(self._outbox.mark_failed, row.id, found.reason, next_try_ms=until_ms)
        return found is None

    def _is_exhausted(self, row: OutboxEntry, now_ms: int) -> bool:
        """Whether trying has an end here: by number, or by age. A contact is worth little after a day."""
        to_person = customer_of_target(row.target) is not None
        age_max_ms = self._limits.contact_age_max_ms if to_person else self._limits.age_max_ms
        return row.tries >= self._limits.attempts_max or now_ms - row.reaction.at_ms >= age_max_ms

    async def _reschedule(self, row: OutboxEntry, error: Unavailable) -> None:
        """Puts the row off. After the last try it is due at once, and given up on sight: its end survives a kill."""
        tries, now_ms = row.tries + 1, self._clock.now_ms()
        last = tries >= self._limits.attempts_max
        wait_s = 0.0 if last else max(backoff_s(row, tries, self._limits), error.retry_after_s or 0.0)
        next_try_ms = now_ms + round(wait_s * 1000)
        await asyncio.to_thread(self._outbox.mark_failed, row.id, str(error), next_try_ms=next_try_ms)

    async def _give_up(self, row: OutboxEntry, error: str) -> None:
        """Ends a row. The outcome is in the log first: a kill in between reports it again, under the same id."""
        reaction = row.reaction
        orders = reaction.type in (ReactionType.ORDER_REQUESTED, ReactionType.MAINTENANCE_BOOKED)
        if orders and is_supplier_route(row.target, reaction, self._catalogue()):
            await self._report(failed_delivery_outcome(reaction, self._clock.now_ms()))
        await asyncio.to_thread(self._outbox.mark_failed, row.id, error, next_try_ms=None)
        log.warning("gave_up_delivery", reaction=reaction.id, target=row.target, tries=row.tries, error=error)

    def _record_failure(self, target: str, error: str) -> None:
        """After some failures in a row a target rests: its other rows are put off without asking it again."""
        health = self._circuits.setdefault(target, _CircuitBreaker())
        health.failures += 1
        health.error = error
        if health.failures >= self._limits.circuit_failures:
            health.open_until_ms = self._clock.now_ms() + round(self._limits.circuit_open_s * 1000)


def failed_delivery_outcome(reaction: Reaction, now_ms: int) -> Outcome:
    """The outcome of an order that could not be brought to its supplier. Its id derives from the order's: it counts once."""
    return Outcome(
        at_ms=now_ms, arrived_ms=now_ms, id=f"undelivered/{reaction.id}", result="failed", reaction=reaction.id
    )


def backoff_s(row: OutboxEntry, tries: int, limits: DeliveryLimits) -> float:
    """Seconds before the next try, after `tries` failures: doubling, and spread by the row's names, the same on every run."""
    wait_s = min(limits.backoff_first_s * 2.0 ** (tries - 1), limits.backoff_max_s)
    digest = hashlib.sha256(f"{row.reaction.id}>{row.target}>{tries}".encode()).digest()
    return wait_s * (0.8 + 0.4 * int.from_bytes(digest[:4], "big") / 2**32)
