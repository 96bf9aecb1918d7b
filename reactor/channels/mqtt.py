"""The channel of address "mqtt": each reaction goes to the reactions topic of its device, at least once.

The channel appends to the log's topic `reactions`; starloop/roles/reaction_publisher.py publishes from there, as the MQTT
endpoint is as a rule another process. Messages are retained, so that a device that connects later without a session of its
own still gets its latest reaction.
"""

from __future__ import annotations

from typing import Protocol

from reactor.channels.base import ChannelEnvironment
from reactor.delivery.cloudevents import event_bytes
from star.errors import LogError, Unavailable
from star.react import Reaction
from stream.partition.partition_hash import partition_of
from stream.topics import REACTIONS
from stream.transports.log_client import Entry, LogClient

AT_LEAST_ONCE = 1
"""MQTT quality of service of every reaction."""


class MqttPublisher(Protocol):
    """Publishes one message. Returns when the message is on disk or acknowledged by the broker."""

    async def __call__(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Raises Unavailable where the broker can't be reached now."""
        ...


class MqttChannel:
    """Appends reactions to topic `reactions`, in the partition of their customer; key: the device."""

    def __init__(self, log: LogClient) -> None:
        self._log = log

    async def send(self, reaction: Reaction, address: str) -> None:
        """Returns when the log has it on disk. Raises Unavailable."""
        partition = partition_of(reaction.customer, self._log.partitions)
        try:
            await self._log.append([Entry(REACTIONS, partition, reaction.device.encode(), event_bytes(reaction))])
        except LogError as error:
            raise Unavailable(str(error)) from error

    async def close(self) -> None:
        """The log is the process's own and stays open."""


class MqttKind:
    """The plug-in `mqtt`."""

    endpoint_schemes = frozenset({"mqtt"})
    contact_schemes = frozenset({"mqtt"})

    def open(self, environment: ChannelEnvironment) -> MqttChannel:
        """A channel onto the service's log."""
        return MqttChannel(environment.log)


def reactions_topic(device: str) -> str:
    """The MQTT topic of a device's reactions."""
    return f"starloop/v1/{device}/reactions"
