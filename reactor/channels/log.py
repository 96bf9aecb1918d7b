"""Reactions onto the log, from where MQTT endpoints publish them: an endpoint is as a rule another process."""

from __future__ import annotations

from reactor.delivery.cloudevents import event_bytes
from star.errors import LogError, Unavailable
from star.react import Reaction
from stream.partition.partition_hash import partition_of
from stream.topics import REACTIONS
from stream.transports.log_client import Entry, LogClient


class LogChannel:
    """Sends reactions to topic `reactions`, in the partition of their customer; key: the device."""

    def __init__(self, log: LogClient) -> None:
        self._log = log

    async def send(self, reaction: Reaction) -> None:
        """Returns when the log has it. Raises Unavailable."""
        partition = partition_of(reaction.customer, self._log.partitions)
        try:
            await self._log.append([Entry(REACTIONS, partition, reaction.device.encode(), event_bytes(reaction))])
        except LogError as error:
            raise Unavailable(str(error)) from error
