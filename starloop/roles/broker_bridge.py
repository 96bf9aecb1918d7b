"""Bridge to an external MQTT broker: messages into the log from a persistent session, and reactions back to the broker.

Messages are acknowledged when they are in the log, so that none is lost after the broker delivered it. Several bridges can share
one broker: a shared subscription distributes the messages, and a consumer group the reactions. This is off by default, because
Mosquitto 2.0 forgets shared subscriptions on restart: until a member reconnects, it acknowledges and drops new messages.
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
"""Default topic filters."""
_log_event = edge_event_logger("broker")


class BrokerBridge:
    """Subscriber and publisher at a broker. share: name of the shared subscription; None: a subscription of its own."""

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
            _log_event,
            client_id=f"{name}-in",
            may_accept=context.settings.may_accept,
            tls=tls,
        )
        self._publisher = Publisher(url, _log_event, client_id=f"{name}-out", tls=tls)
        self.reaction_publisher = ReactionPublisher(context.log, context.group_name("broker"), self._publisher.publish)
        context.checks["broker"] = lambda: self._problem(url)
        context.checks["reactions"] = lambda: self.reaction_publisher.last_error

    def _problem(self, url: BrokerUrl) -> str | None:
        """Why messages are not received or reactions not published; None if both work."""
        if not self._publisher.connected():
            return f"{url.shown()}: not connected"
        return None if self._subscriber.is_subscribed() else f"{url.shown()}: not subscribed"

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Subscribes and publishes while the block runs."""
        self._subscriber.start()
        self._publisher.start()
        publishing = self._context.group.create_task(self.reaction_publisher.run(), name="announcer")
        try:
            yield
        finally:
            publishing.cancel()
            await self._subscriber.stop()
            await self._publisher.stop()
