"""Several senders over one outbox, and an outbox that is away: each carries its own partitions, nobody is asked twice."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from reactor.sender import Channels, Limits, Sender
from star.errors import StoreError, Unavailable
from star.repeat import NeedState
from tests.reactor.senders.small_fleet import Ear, HandClock, OutboxInMemory, fleet_of, reaction_of
from tests.reactor.senders.test_sender import TARGET, Stubborn, until


class Forgetful(OutboxInMemory):
    """An outbox that can be read, and takes no mark while it has no room."""

    full = True

    def mark_sent(self, row: int, now_ms: int) -> None:
        if self.full:
            raise StoreError("the disk is full")
        super().mark_sent(row, now_ms)


def sender_of(
    outbox: OutboxInMemory, channel: Ear | Stubborn, clock: HandClock, owned: set[int] | None, **limits: float
) -> Sender:
    """A sender of these partitions whose ways out are all `channel`."""
    return Sender(
        outbox,
        Channels(mqtt=channel, suppliers=channel, customers=channel),
        catalogue=fleet_of,
        report=Ear().report,
        need_state=lambda _: NeedState.OPEN,
        clock=clock,
        limits=Limits(**limits),  # type: ignore[arg-type]
        partitions=None if owned is None else lambda: owned,
    )


async def test_each_sender_carries_its_own_partitions(outbox: OutboxInMemory, clock: HandClock) -> None:
    """Those it owns at the moment: what another one owned goes out when it is handed over, and no sooner."""
    for cycle in range(1, 5):
        outbox.put(reaction_of(cycle=cycle), TARGET, partition=cycle % 2)
    owned: set[int] = {1}
    ear = Ear()
    sender = sender_of(outbox, ear, clock, owned)
    await sender.once()
    assert [one.need for one in ear.heard] == ["tank-7/oil/1", "tank-7/oil/3"]
    await sender.once()
    owned.clear()
    assert await sender.once() == 0
    assert len(ear.heard) == 2
    owned.add(0)
    await sender.once()
    assert [one.need for one in ear.heard][2:] == ["tank-7/oil/2", "tank-7/oil/4"]


async def test_rows_at_hand_are_left_when_their_partition_goes(outbox: OutboxInMemory, clock: HandClock) -> None:
    """They were due and had no room; now they are another process's."""
    for cycle in range(1, 4):
        outbox.put(reaction_of(cycle=cycle), TARGET, partition=5)
    owned = {5}

    class Slow(Ear):
        async def send(self, reaction: object) -> None:
            owned.discard(5)
            await super().send(reaction)  # type: ignore[arg-type]

    slow = Slow()
    running = asyncio.create_task(sender_of(outbox, slow, clock, owned, in_flight_max=1, poll_s=0.02).run())
    await until(lambda: outbox.rows[0].state == "sent")
    await asyncio.sleep(0.1)
    running.cancel()
    assert [one.need for one in slow.heard] == ["tank-7/oil/1"]
    assert [row.state for row in outbox.rows] == ["sent", "waiting", "waiting"]


async def test_a_handed_over_row_is_known_by_its_id(outbox: OutboxInMemory, clock: HandClock) -> None:
    """Two processes send it, one as it loses the partition, one as it takes it over: both times it is the same reaction."""
    outbox.put(reaction_of(), TARGET, partition=2)
    ear = Ear()
    losing, taking = (sender_of(outbox, ear, clock, {2}) for _ in range(2))
    await asyncio.gather(losing.once(), taking.once())
    assert 1 <= len(ear.heard) <= 2
    assert {one.id for one in ear.heard} == {reaction_of().id}
    assert outbox.rows[0].state == "sent"


async def test_a_store_without_room_makes_nobody_hear_an_order_twice(clock: HandClock) -> None:
    """The supplier has it; the store learns it when it has room again. The sender goes on meanwhile."""
    outbox, ear = Forgetful(), Ear()
    outbox.put(reaction_of(), TARGET)
    sender = sender_of(outbox, ear, clock, None, poll_s=0.02)
    with capture_logs() as logs:
        running = asyncio.create_task(sender.run())
        await until(lambda: sum(one["event"] == "put_off_delivery" for one in logs) > 3)
        outbox.full = False
        await until(lambda: outbox.rows[0].state == "sent")
        running.cancel()
    assert len(ear.heard) == 1


async def test_a_failure_that_the_store_could_not_take_is_tried_again(outbox: OutboxInMemory, clock: HandClock) -> None:
    """The row is due as before, under the same id."""
    channel = Stubborn(Unavailable("acme answers 503"))
    outbox.put(reaction_of(), TARGET)
    sender = sender_of(outbox, channel, clock, None, poll_s=0.02)
    marked, away = outbox.mark_failed, True

    def mark_failed(row: int, error: str, *, next_try_ms: int | None) -> None:
        if away:
            raise StoreError("the database is away")
        marked(row, error, next_try_ms=next_try_ms)

    outbox.mark_failed = mark_failed  # type: ignore[method-assign]
    await sender.once()
    away = False
    await sender.once()
    assert [one.id for one in channel.asked] == [reaction_of().id] * 2
    assert outbox.rows[0].tries == 1
