"""Somebody's MQTT broker as the way in and out: heard in a session that it keeps, acknowledged when the log has it.

What the broker loses before it hands over is its own; what it handed over is not lost. Several of these may share the work of one
broker: a shared subscription hands each message to one of them, the log each reaction. Not by default, since Mosquitto 2.0 forgets
shared subscriptions when it restarts, until a member is back: what is published meanwhile it acknowledges and drops.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from edge.client import BrokerUrl, Publisher, Subscriber
from starloop.logging import saying
from starloop.roles.announcer import Announcer
from starloop.roles.base import Base
from starloop.roles.door import Door

FILTERS = tuple(f"starloop/v1/+/{kind}" for kind in ("telemetry", "status", "requests", "outcomes"))
"""What is heard unless told otherwise."""
_say = saying("broker")


class Broker:
    """The ways in and out of a broker. share: the name of the shared subscription; None hears alone."""

    def __init__(
        self,
        base: Base,
        door: Door,
        url: BrokerUrl,
        filters: Sequence[str] = FILTERS,
        *,
        share: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._base = base
        shared = [pattern if share is None else f"$share/{share}/{pattern}" for pattern in filters]
        name = f"starloop-{base.instance}"
        self._heard = Subscriber(
            url,
            shared,
            door.inlet,
            _say,
            client_id=f"{name}-in",
            may_accept=base.settings.may_accept,
            tls=tls,
        )
        self._publisher = Publisher(url, _say, client_id=f"{name}-out", tls=tls)
        self.announcer = Announcer(base.log, base.group_name("broker"), self._publisher.publish)
        base.checks["broker"] = lambda: self._missing(url)
        base.checks["reactions"] = lambda: self.announcer.trouble

    def _missing(self, url: BrokerUrl) -> str | None:
        """Why nothing comes in from the broker or goes out there; None: both do."""
        if not self._publisher.connected():
            return f"{url.shown()}: not connected"
        return None if self._heard.hears() else f"{url.shown()}: not subscribed"

    @asynccontextmanager
    async def hearing(self) -> AsyncIterator[None]:
        """Hears and publishes while the block runs."""
        self._heard.start()
        self._publisher.start()
        announcing = self._base.group.create_task(self.announcer.run(), name="announcer")
        try:
            yield
        finally:
            announcing.cancel()
            await self._heard.stop()
            await self._publisher.stop()
