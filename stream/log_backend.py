"""Log backends: what the Faust application needs to know of the embedded log and of Kafka, where they differ."""

from __future__ import annotations

from typing import Any, Protocol

import faust
from faust.types import TransportT
from yarl import URL

from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides import durable_table_store, embedded_transport, kafka_transport
from stream.transports.kafka_log.options import KafkaOptions


class LogBackend(Protocol):
    """A kind of log. app_id: consumer group, and first part of the changelog's name. partitions: of the input."""

    app_id: str
    partitions: int

    def topic(self, plain: str) -> str:
        """The name that a topic of stream/topics.py has in this log."""
        ...

    def settings(self) -> dict[str, Any]:
        """Faust's settings for this log, by name."""
        ...

    def transport(self, app: faust.App, urls: list[URL]) -> TransportT:
        """A new transport of Faust to this log."""
        ...


class EmbeddedLogBackend:
    """The embedded log, in one partition."""

    app_id = "starloop"
    partitions = 1

    def __init__(self, log: SqliteLog) -> None:
        self.log = log

    def topic(self, plain: str) -> str:
        """The same name."""
        return plain

    def settings(self) -> dict[str, Any]:
        """See LogBackend."""
        return {
            "broker": URL(f"{embedded_transport.SCHEME}://{self.log.path.absolute()}"),
            "datadir": str(self.log.path.parent),
            "store": URL("memory://"),
            "topic_partitions": 1,
            "topic_replication_factor": 1,
            "stream_wait_empty": False,
        }

    def transport(self, app: faust.App, urls: list[URL]) -> TransportT:
        """See LogBackend."""
        return embedded_transport.EmbeddedTransport(urls, app, log=self.log)


class KafkaLogBackend:
    """Kafka. partitions: of the topics, as the client found or created them. standbys: replicas of each partition's state."""

    def __init__(self, options: KafkaOptions, partitions: int, standbys: int = 0) -> None:
        durable_table_store.register()
        self.options = options
        self.app_id = options.app_id
        self.partitions = partitions
        self._standbys = standbys

    def topic(self, plain: str) -> str:
        """The name with the installation's prefix."""
        return self.options.topic_name(plain)

    def settings(self) -> dict[str, Any]:
        """See LogBackend."""
        settings = kafka_transport.faust_settings(self.options, partitions=self.partitions, standbys=self._standbys)
        return {"store": URL(f"{durable_table_store.SCHEME}://"), **settings}

    def transport(self, app: faust.App, urls: list[URL]) -> TransportT:
        """See LogBackend."""
        return kafka_transport.KafkaTransport(urls, app, options=self.options)
