"""A small Faust app on either transport, and a process that runs it and can be killed.

It counts, in a table, the records of each key of the topic `input`, and forwards each to the topic `out`.
Run as `faust_apps.py LOG PREFIX PARTITIONS STANDBYS`: a worker on the log in that file, or at that Kafka, until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import faust
from faust.types import TransportT
from yarl import URL

from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides import durable_table_store, embedded_transport, kafka_transport
from stream.transports.kafka_log.options import KafkaOptions
from stream.transports.log_client import TopicSpec

TOPICS = (
    TopicSpec(name="input", per_customer=True),
    TopicSpec(name="out", per_customer=True),
    TopicSpec(name="counts-changelog", per_customer=True, compacted=True),
)


class App(faust.App):
    """An app on an embedded log or on Kafka."""

    def __init__(self, log: SqliteLog | None, options: KafkaOptions | None, **settings: Any) -> None:
        self.log_file, self.options = log, options
        self.failed: BaseException | None = None
        durable_table_store.register()
        super().__init__(
            **{
                "broker": URL("embedded:///nowhere"),
                "store": URL("kept://"),
                "datadir": "/nowhere",
                "autodiscover": False,
                "web_enabled": False,
                "topic_disable_leader": True,
                "stream_wait_empty": False,
                "key_serializer": "raw",
                "value_serializer": "raw",
                "broker_commit_interval": 0.2,
                **settings,
            }
        )

    def _on(self, url: Any) -> TransportT:
        if self.options is not None:
            return kafka_transport.KafkaTransport(url, self, options=self.options)
        assert self.log_file is not None
        return embedded_transport.EmbeddedTransport(url, self, log=self.log_file)

    def _new_transport(self) -> TransportT:
        return self._on(self.conf.broker_consumer)

    def _new_producer_transport(self) -> TransportT:
        return self._on(self.conf.broker_producer)

    def _create_directories(self) -> None:
        pass


def embedded_app(log: SqliteLog, **settings: Any) -> App:
    """On an embedded log."""
    return App(log, None, id="starloop", topic_partitions=1, topic_replication_factor=1, **settings)


def kafka_app(options: KafkaOptions, partitions: int, standbys: int = 0, **settings: Any) -> App:
    """On Kafka."""
    return App(
        None, options, **(kafka_transport.faust_settings(options, partitions=partitions, standbys=standbys) | settings)
    )


def counting(app: App) -> Any:
    """Adds the table and the agent to the app; gives the table."""
    options = app.options
    names = (options.topic_name("input"), options.topic_name("out")) if options else ("input", "out")
    table = app.Table("counts", partitions=app.conf.topic_partitions, key_type=bytes, value_type=bytes)
    out = app.topic(names[1])

    async def count(stream: faust.Stream[bytes]) -> None:
        async for event in stream.events():
            # The last offset that a key's count includes is kept with it: a redelivered record is not counted again.
            total, reached = map(int, (table.get(event.key) or b"0 -1").split())
            if event.message.offset > reached:
                table[event.key] = b"%d %d" % (total + 1, event.message.offset)
            await out.send(key=event.key, value=event.value, partition=event.message.partition)

    app.agent(app.topic(names[0]), name="count")(count)
    return table


def app_on(where: str, prefix: str, partitions: int, standbys: int) -> App:
    """On an embedded log's file, or on the Kafka at host:port."""
    if "/" in where:
        return embedded_app(SqliteLog(Path(where)))
    return kafka_app(KafkaOptions(brokers=(where,), prefix=prefix, partitions=partitions), partitions, standbys)


async def work(app: App) -> None:
    """A worker, for ever."""
    counting(app)
    await app.start()
    await app.wait_until_stopped()


async def main() -> None:
    """From the command line."""
    await work(app_on(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))


if __name__ == "__main__":
    asyncio.run(main())
