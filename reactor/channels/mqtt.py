"""Reactions over MQTT: each goes to the reactions topic of its device, at least once.

This knows topics and payloads, not brokers: what publishes (our own endpoint, or a client of someone else's) is handed
in. The message is retained, so a device that connects later, without a session of its own, still finds its latest
reaction.
"""

from __future__ import annotations

from typing import Protocol

from reactor.cloudevents import event_bytes
from star.react import Reaction

AT_LEAST_ONCE = 1
"""The quality of service of every reaction."""


class Publish(Protocol):
    """Publishes one message. It returns when the message is in safe hands: on disk, or acknowledged by the broker."""

    async def __call__(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Raises Unavailable where the broker can't be reached now."""
        ...


def reactions_topic(device: str) -> str:
    """The topic on which a device's reactions go out."""
    return f"starloop/v1/{device}/reactions"


class MqttChannel:
    """Sends reactions through `publish`."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    async def send(self, reaction: Reaction) -> None:
        """Returns when the message is in safe hands. Raises Unavailable."""
        await self._publish(reactions_topic(reaction.device), event_bytes(reaction), AT_LEAST_ONCE, True)
