"""A process that sends a store's outbox to one supplier, to be killed: python -m tests.support.dispatcher_process STORE URL."""

from __future__ import annotations

import asyncio
import sys
import time

from reactor.channels.webhook import WebhookChannel
from reactor.delivery.limits import DeliveryLimits
from reactor.delivery.outbox_dispatcher import OutboxDispatcher
from reactor.store.sql import SqlStore
from star.repeat import Outcome
from tests.support.delivery_fleet import SECRET, fleet_of, router_of


class WallClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


async def main(path: str, url: str) -> None:
    """Sends until nothing waits."""
    clock, fleet = WallClock(), fleet_of(url)
    webhook = WebhookChannel(fleet.suppliers.get, default_secret=SECRET, clock=clock)

    async def report(outcome: Outcome) -> None:
        raise AssertionError(f"nothing is to be given up here: {outcome}")

    with SqlStore(f"sqlite:///{path}") as store:
        limits = DeliveryLimits(backoff_first_s=0.05, backoff_max_s=0.1, attempts_max=1000, poll_s=0.02)
        dispatcher = OutboxDispatcher(
            store,
            router_of(fleet, webhook=webhook),
            catalogue=lambda: fleet,
            report=report,
            need_state=store.need_state,
            clock=clock,
            limits=limits,
        )
        running = asyncio.create_task(dispatcher.run())
        while await asyncio.to_thread(store.waiting_count):  # noqa: ASYNC110 - the store is the only one to ask
            await asyncio.sleep(0.02)
        running.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
