"""Somebody's MQTT broker as the way in and out: heard in a session that it keeps, acknowledged when the log has it.

What the broker loses before it hands over is its own; what it handed over is not lost. Several of these may share the work of one
broker: a shared subscription hands each message to one of them, the log each reaction. Not by default, since Mosquitto 2.0 forgets
shared subscriptions when it restarts, until a member is back: what is published meanwhile it acknowledges and drops.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from edge.mqtt_client import BrokerUrl, Publisher, Subscriber
from operations.observability.logging import edge_event_logger
from starloop.roles.context import RoleContext
from starloop.roles.ingest_gateway import IngestGateway
from starloop.roles.reaction_publisher import ReactionPublisher

TOPIC_FILTERS = tuple(f"starloop/v1/+/{kind}" for kind in ("telemetry", "status", "requests", "outcomes"))
"""What is heard unless told otherwise."""
_say = edge_event_logger("broker")


class BrokerBridge:
    """The ways in and out of a broker. share: the name of the shared subscription; None hears alone."""

    def __init__(
        self,
        context: RoleContext,
        gateway: IngestGateway,
        url: BrokerUrl,
        filters: Sequence[str] = TOPIC_FILTERS,
        *,
        share: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._context = context
        shared = [pattern if share is None else f"$share/{share}/{pattern}" for pattern in filters]
        name = f"starloop-{context.instance}"
        self._subscriber = Subscriber(
            url,
            shared,
            gateway.ingest,
            _say,
            client_id=f"{name}-in",
            may_accept=context.settings.may_accept,
            tls=tls,
        )
        self._publisher = Publisher(url, _say, client_id=f"{name}-out", tls=tls)
        self.reaction_publisher = ReactionPublisher(context.log, context.group_name("broker"), self._publisher.publish)
        context.checks["broker"] = lambda: self._problem(url)
        context.checks["reactions"] = lambda: self.reaction_publisher.last_error

    def _problem(self, url: BrokerUrl) -> str | None:
        """Why nothing comes in from the broker or goes out there; None: both do."""
        if not self._publisher.connected():
            return f"{url.shown()}: not connected"
        return None if self._subscriber.is_subscribed() else f"{url.shown()}: not subscribed"

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Hears and publishes while the block runs."""
        self._subscriber.start()
        self._publisher.start()
        announcing = self._context.group.create_task(self.reaction_publisher.run(), name="announcer")
        try:
            yield
        finally:
            announcing.cancel()
            await self._subscriber.stop()
            await self._publisher.stop()
