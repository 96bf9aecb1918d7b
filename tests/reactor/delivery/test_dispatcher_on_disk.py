"""The dispatcher on the real store: order within a line, final states, and kill -9 at any moment."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from reactor.delivery.outbox_dispatcher import OutboxDispatcher
from reactor.store.sql import SqlStore
from reactor.unit_of_work import StepResult
from star.errors import InputError, Unavailable
from star.react import Reaction, ReactionType
from tests.reactor.delivery.test_outbox_dispatcher import FailingChannel
from tests.support.delivery_fleet import ManualClock, RecordingChannel, fleet_of, reaction_of, router_of
from tests.support.supplier_server import SupplierServer, serving

ROOT = Path(__file__).parents[3]
KILLS = 4


def dispatcher_on(
    store: SqlStore, supplier: FailingChannel, clock: ManualClock, recorder: RecordingChannel
) -> OutboxDispatcher:
    """A dispatcher of this store with this channel to the supplier; the others accept everything."""
    return OutboxDispatcher(
        store,
        router_of(fleet_of(), webhook=supplier),
        catalogue=fleet_of,
        report=recorder.report,
        need_state=store.need_state,
        clock=clock,
    )


async def test_the_store_keeps_the_line_over_a_restart(tmp_path: Path) -> None:
    """The order failed, the process stopped: the next one sends the order first, then its cancellation."""
    url, clock = f"sqlite:///{tmp_path / 'store.db'}", ManualClock()
    order, cancel = reaction_of(), reaction_of(ReactionType.ORDER_CANCELLED)
    with SqlStore(url) as store:
        store.commit(StepResult(offset=1, at_ms=clock.at_ms, reactions=(order, cancel)), fleet_of())
        await dispatcher_on(
            store, FailingChannel(Unavailable("acme answers 503")), clock, RecordingChannel()
        ).run_once()
        states = [(row.target, row.state, row.tries, row.error) for row in store.deliveries(order.id)]
        assert states == [("mqtt", "sent", 0, ""), ("supplier:acme", "waiting", 1, "acme answers 503")]
    clock.advance_s(60)
    with SqlStore(url) as store:
        supplier = FailingChannel(None)
        for _ in range(2):
            await dispatcher_on(store, supplier, clock, RecordingChannel()).run_once()
        assert [reaction.id for reaction in supplier.attempts] == [order.id, cancel.id]
        assert store.waiting_count() == 0


async def test_what_was_given_up_stays_so_and_lets_the_line_go_on(tmp_path: Path) -> None:
    """The reason is stored; the next reaction of the need goes out."""
    clock, recorder = ManualClock(), RecordingChannel()
    with SqlStore(f"sqlite:///{tmp_path / 'store.db'}") as store:
        order, cancel = reaction_of(), reaction_of(ReactionType.ORDER_CANCELLED)
        store.commit(StepResult(offset=1, at_ms=clock.at_ms, reactions=(order, cancel)), fleet_of())
        supplier = FailingChannel(InputError("acme refuses it with 400"))
        dispatcher = dispatcher_on(store, supplier, clock, recorder)
        await dispatcher.run_once()
        supplier.error = None
        await dispatcher.run_once()
        given_up = store.deliveries(order.id)[1]
        assert (given_up.state, given_up.error) == ("given-up", "acme refuses it with 400")
        assert store.deliveries(cancel.id)[1].state == "sent"
        assert [outcome.reaction for outcome in recorder.outcomes] == [order.id]


async def test_orders_survive_kill_9_at_any_moment(tmp_path: Path) -> None:
    """Killed again and again: every reaction arrives, each under one id only, and no cancellation before its order."""
    path, rng = tmp_path / "store.db", random.Random(7)
    at_ms = round(time.time() * 1000)
    reactions: list[Reaction] = []
    for cycle in range(1, 41):
        reactions.append(reaction_of(cycle=cycle, at_ms=at_ms))
        reactions.append(reaction_of(ReactionType.ORDER_CANCELLED, cycle=cycle, at_ms=at_ms))
    acme = SupplierServer(slow_s=0.02, answers=[(500, {}), (204, {}), (503, {"retry-after": "0"})] * 20)
    async with serving(acme):
        with SqlStore(f"sqlite:///{path}") as store:
            store.commit(StepResult(offset=1, at_ms=at_ms, reactions=tuple(reactions)), fleet_of(acme.url))
        kills = 0
        while True:
            module = "tests.support.dispatcher_process"
            child = await asyncio.create_subprocess_exec(sys.executable, "-m", module, str(path), acme.url, cwd=ROOT)
            enough = len(acme.calls) + rng.randrange(1, 12)
            try:
                async with asyncio.timeout(60):
                    while kills < KILLS and child.returncode is None and len(acme.calls) < enough:  # noqa: ASYNC110 - no event says it
                        await asyncio.sleep(0.002)
                    if kills < KILLS and child.returncode is None:
                        child.kill()
                        kills += 1
                    if await child.wait() == 0:
                        break
            finally:
                if child.returncode is None:
                    child.kill()
                    await child.wait()
    assert kills == KILLS
    first_heard: dict[str, int] = {}
    keys: dict[str, set[str]] = {}
    for place, call in enumerate(acme.calls):
        event = json.loads(call.body)
        first_heard.setdefault(event["id"], place)
        keys.setdefault(event["id"], set()).add(call.headers["webhook-id"])
    assert set(first_heard) == {reaction.id for reaction in reactions}
    assert all(len(ids) == 1 for ids in keys.values())
    for order, cancel in zip(reactions[::2], reactions[1::2], strict=True):
        assert first_heard[order.id] < first_heard[cancel.id]
