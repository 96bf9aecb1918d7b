"""What a log is to the Faust application: the embedded log, or Kafka. What differs between them is here, and nowhere else."""

from __future__ import annotations

from typing import Any, Protocol

import faust
from faust.types import TransportT
from yarl import URL

from stream.transports import embedded, kafka, kept_store
from stream.transports.kafka_options import KafkaOptions
from stream.transports.log import SqliteLog


class Medium(Protocol):
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


class EmbeddedMedium:
    """The embedded log."""

    app_id = "starloop"
    partitions = 1

    def __init__(self, log: SqliteLog) -> None:
        embedded.register()
        self.log = log

    def topic(self, plain: str) -> str:
        """As it is."""
        return plain

    def settings(self) -> dict[str, Any]:
        """See Medium."""
        return {
            "broker": URL(f"{embedded.SCHEME}://{self.log.path.absolute()}"),
            "datadir": str(self.log.path.parent),
            "store": URL("memory://"),
            "topic_partitions": 1,
            "topic_replication_factor": 1,
            "stream_wait_empty": False,
        }

    def transport(self, app: faust.App, urls: list[URL]) -> TransportT:
        """See Medium."""
        return embedded.Transport(urls, app, log=self.log)


class KafkaMedium:
    """Kafka. partitions: of the topics, as the client found or made them. standbys: workers that keep a copy of a state."""

    def __init__(self, options: KafkaOptions, partitions: int, standbys: int = 0) -> None:
        kafka.register()
        kept_store.register()
        self.options = options
        self.app_id = options.app_id
        self.partitions = partitions
        self._standbys = standbys

    def topic(self, plain: str) -> str:
        """With the installation's prefix."""
        return self.options.topic_name(plain)

    def settings(self) -> dict[str, Any]:
        """See Medium."""
        settings = kafka.faust_settings(self.options, partitions=self.partitions, standbys=self._standbys)
        return {"store": URL(f"{kept_store.SCHEME}://"), **settings}

    def transport(self, app: faust.App, urls: list[URL]) -> TransportT:
        """See Medium."""
        return kafka.Transport(urls, app, options=self.options)
