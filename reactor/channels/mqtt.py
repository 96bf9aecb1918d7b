"""Reactions over MQTT: each goes to the reactions topic of its device, at least once.

This knows topics, not brokers: our own endpoint, or a client of someone else's, publishes what log.py put onto the log. The
message is retained, so a device that connects later, without a session of its own, still finds its latest reaction.
"""

from __future__ import annotations

from typing import Protocol

AT_LEAST_ONCE = 1
"""The quality of service of every reaction."""


class MqttPublisher(Protocol):
    """Publishes one message. It returns when the message is in safe hands: on disk, or acknowledged by the broker."""

    async def __call__(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Raises Unavailable where the broker can't be reached now."""
        ...


def reactions_topic(device: str) -> str:
    """The topic on which a device's reactions go out."""
    return f"starloop/v1/{device}/reactions"
