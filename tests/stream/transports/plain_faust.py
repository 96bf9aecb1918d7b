"""Faust's own consumer and buffer on the embedded log, for tests of what upstream does without the corrections."""

from __future__ import annotations

from typing import Any

from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer
from faust.transport.producer import ProducerBuffer
from faust.types import TransportT

from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.embedded_producer import FaustEmbeddedProducer
from stream.transports.faust_overrides.embedded_transport import EmbeddedTransport, FaustEmbeddedConsumer
from stream.transports.faust_overrides.stream_app import StreamApp


class PlainConsumer(FaustEmbeddedConsumer):
    """The embedded log's consumer with every corrected method taken back to Faust's own."""

    _new_offset = Consumer._new_offset
    perform_seek = Consumer.perform_seek
    seek = Consumer.seek
    on_partitions_revoked = Consumer.on_partitions_revoked
    on_buffer_drop = Consumer.on_buffer_drop
    resume_partitions = Consumer.resume_partitions
    _wait_next_records = Consumer._wait_next_records
    _drain_messages = Consumer._drain_messages
    wait_empty = Consumer.wait_empty


class PlainProducer(FaustEmbeddedProducer):
    """The embedded log's producer with Faust's own buffer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer = ProducerBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app


class PlainTransport(EmbeddedTransport):
    """Both."""

    Consumer = PlainConsumer
    Producer = PlainProducer


class PlainApp(StreamApp):
    """An app on the embedded log with Faust's own consumer, buffer and table manager."""

    def __init__(self, log: SqliteLog, **settings: Any) -> None:
        self._log_file = log
        super().__init__(log, **{"TableManager": TableManager, **settings})

    def _new_transport(self) -> TransportT:
        return PlainTransport(self.conf.broker_consumer, self, self._log_file)

    def _new_producer_transport(self) -> TransportT:
        return PlainTransport(self.conf.broker_producer, self, self._log_file)
