"""Several dispatchers on one outbox, and an outbox that is unavailable: each sends its own partitions, nothing twice."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from reactor.delivery.limits import DeliveryLimits
from reactor.delivery.outbox_dispatcher import OutboxDispatcher
from star.errors import StoreError, Unavailable
from star.react import Reaction
from star.repeat import NeedState
from tests.reactor.delivery.test_outbox_dispatcher import TARGET, FailingChannel, until
from tests.support.delivery_fleet import InMemoryOutbox, ManualClock, RecordingChannel, fleet_of, reaction_of


class UnwritableOutbox(InMemoryOutbox):
    """An outbox that can be read, and not written while its disk is full."""

    full = True

    def mark_sent(self, row: int, now_ms: int) -> None:
        if self.full:
            raise StoreError("the disk is full")
        super().mark_sent(row, now_ms)


def dispatcher_of(
    outbox: InMemoryOutbox,
    channel: RecordingChannel | FailingChannel,
    clock: ManualClock,
    owned: set[int] | None,
    **limits: float,
) -> OutboxDispatcher:
    """A dispatcher of these partitions that sends everything through `channel`."""
    return OutboxDispatcher(
        outbox,
        channel,
        catalogue=fleet_of,
        report=RecordingChannel().report,
        need_state=lambda _: NeedState.OPEN,
        clock=clock,
        limits=DeliveryLimits(**limits),  # type: ignore[arg-type]
        partitions=None if owned is None else lambda: owned,
    )


async def test_each_dispatcher_sends_its_own_partitions(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """Those that it owns at the moment; rows of another partition go out when that is handed over, and no sooner."""
    for cycle in range(1, 5):
        outbox.add(reaction_of(cycle=cycle), TARGET, partition=cycle % 2)
    owned: set[int] = {1}
    recorder = RecordingChannel()
    dispatcher = dispatcher_of(outbox, recorder, clock, owned)
    await dispatcher.run_once()
    assert [one.need for one in recorder.sent] == ["tank-7/oil/1", "tank-7/oil/3"]
    await dispatcher.run_once()
    owned.clear()
    assert await dispatcher.run_once() == 0
    assert len(recorder.sent) == 2
    owned.add(0)
    await dispatcher.run_once()
    assert [one.need for one in recorder.sent][2:] == ["tank-7/oil/2", "tank-7/oil/4"]


async def test_loaded_rows_are_dropped_when_their_partition_goes(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """They were due and over the limit; now they belong to another process."""
    for cycle in range(1, 4):
        outbox.add(reaction_of(cycle=cycle), TARGET, partition=5)
    owned = {5}

    class Slow(RecordingChannel):
        async def send(self, reaction: Reaction, address: str) -> None:
            owned.discard(5)
            await super().send(reaction, address)

    slow = Slow()
    running = asyncio.create_task(dispatcher_of(outbox, slow, clock, owned, in_flight_max=1, poll_s=0.02).run())
    await until(lambda: outbox.rows[0].state == "sent")
    await asyncio.sleep(0.1)
    running.cancel()
    assert [one.need for one in slow.sent] == ["tank-7/oil/1"]
    assert [row.state for row in outbox.rows] == ["sent", "waiting", "waiting"]


async def test_a_handed_over_row_is_recognized_by_its_id(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """Two processes send it, one as it loses the partition, one as it takes it over: both times it is the same reaction."""
    outbox.add(reaction_of(), TARGET, partition=2)
    recorder = RecordingChannel()
    losing, taking = (dispatcher_of(outbox, recorder, clock, {2}) for _ in range(2))
    await asyncio.gather(losing.run_once(), taking.run_once())
    assert 1 <= len(recorder.sent) <= 2
    assert {one.id for one in recorder.sent} == {reaction_of().id}
    assert outbox.rows[0].state == "sent"


async def test_a_full_store_does_not_send_an_order_twice(clock: ManualClock) -> None:
    """The supplier has it; it is marked when the store has room again. The dispatcher continues meanwhile."""
    outbox, recorder = UnwritableOutbox(), RecordingChannel()
    outbox.add(reaction_of(), TARGET)
    dispatcher = dispatcher_of(outbox, recorder, clock, None, poll_s=0.02)
    with capture_logs() as logs:
        running = asyncio.create_task(dispatcher.run())
        await until(lambda: sum(one["event"] == "put_off_delivery" for one in logs) > 3)
        outbox.full = False
        await until(lambda: outbox.rows[0].state == "sent")
        running.cancel()
    assert len(recorder.sent) == 1


async def test_a_failure_that_the_store_could_not_record_is_retried(outbox: InMemoryOutbox, clock: ManualClock) -> None:
    """The row is due as before, under the same id."""
    channel = FailingChannel(Unavailable("acme answers 503"))
    outbox.add(reaction_of(), TARGET)
    dispatcher = dispatcher_of(outbox, channel, clock, None, poll_s=0.02)
    marked, away = outbox.mark_failed, True

    def mark_failed(row: int, error: str, *, next_try_ms: int | None) -> None:
        if away:
            raise StoreError("the database is away")
        marked(row, error, next_try_ms=next_try_ms)

    outbox.mark_failed = mark_failed  # type: ignore[method-assign]
    await dispatcher.run_once()
    away = False
    await dispatcher.run_once()
    assert [one.id for one in channel.attempts] == [reaction_of().id] * 2
    assert outbox.rows[0].tries == 1
