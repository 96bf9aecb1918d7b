"""What a log is to the Faust application: the embedded log, or Kafka. What differs between them is here, and nowhere else."""

from __future__ import annotations

from typing import Any, Protocol

import faust
from faust.types import TransportT
from yarl import URL

from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides import durable_table_store, embedded_transport, kafka_transport
from stream.transports.kafka_log.options import KafkaOptions


class LogBackend(Protocol):
    """app_id: the consumer group, and what the changelog is named after. partitions: of the input."""

    app_id: str
    partitions: int

    def topic(self, plain: str) -> str:
        """A topic's name in this log."""
        ...

    def settings(self) -> dict[str, Any]:
        """Faust's settings for it."""
        ...

    def transport(self, app: faust.App, urls: list[URL]) -> TransportT:
        """Faust's transport to it."""
        ...


class EmbeddedLogBackend:
    """The embedded log."""

    app_id = "starloop"
    partitions = 1

    def __init__(self, log: SqliteLog) -> None:
        self.log = log

    def topic(self, plain: str) -> str:
        """As it is."""
        return plain

    def settings(self) -> dict[str, Any]:
        """See Medium."""
        return {
            "broker": URL(f"{embedded_transport.SCHEME}://{self.log.path.absolute()}"),
            "datadir": str(self.log.path.parent),
            "store": URL("memory://"),
            "topic_partitions": 1,
            "topic_replication_factor": 1,
            "stream_wait_empty": False,
        }

    def transport(self, app: faust.App, urls: list[URL]) -> TransportT:
        """See Medium."""
        return embedded_transport.EmbeddedTransport(urls, app, log=self.log)


class KafkaLogBackend:
    """Kafka. partitions: of the topics, as the client found or made them. standbys: workers that keep a copy of a state."""

    def __init__(self, options: KafkaOptions, partitions: int, standbys: int = 0) -> None:
        durable_table_store.register()
        self.options = options
        self.app_id = options.app_id
        self.partitions = partitions
        self._standbys = standbys

    def topic(self, plain: str) -> str:
        """With the installation's prefix."""
        return self.options.topic_name(plain)

    def settings(self) -> dict[str, Any]:
        """See Medium."""
        settings = kafka_transport.faust_settings(self.options, partitions=self.partitions, standbys=self._standbys)
        return {"store": URL(f"{durable_table_store.SCHEME}://"), **settings}

    def transport(self, app: faust.App, urls: list[URL]) -> TransportT:
        """See Medium."""
        return kafka_transport.KafkaTransport(urls, app, options=self.options)
