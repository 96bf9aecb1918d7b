"""The Faust app on a log of ours: its transports, its tables, and how it starts, fails and stops."""

from __future__ import annotations

import sys
from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.types import TransportT

from stream.log_backend import EmbeddedLogBackend, LogBackend
from stream.state.checkpoint import is_stale
from stream.transports.embedded_log.sqlite_log import SqliteLog

SWITCH_INTERVAL_S = 0.0005
"""Python's thread switch interval: how long the log's writing thread waits for the event loop to let it run (default: 5 ms)."""
BUFFERED_EVENTS_MAX = 128
"""Records of a topic that wait for their agent in memory; one holds up to 2,000 readings."""


class BytesTable(faust.Table[bytes, bytes]):
    """A table of bytes by bytes. While it recovers, a value that is older than the one held is dropped."""

    is_stale = staticmethod(is_stale)


class UndelayedTableManager(TableManager):
    """Faust's table manager without its sleep of one second at the start: every table is defined before the app starts."""

    async def on_start(self) -> None:
        """Starts recovery."""
        await self._update_channels()
        await self.recovery.start()


class StreamApp(faust.App):
    """A Faust app on the given log. `settings` override the defaults made here."""

    def __init__(self, backend: LogBackend | SqliteLog, **settings: Any) -> None:
        self.backend = EmbeddedLogBackend(backend) if isinstance(backend, SqliteLog) else backend
        super().__init__(
            **{
                "id": self.backend.app_id,
                "autodiscover": False,
                "web_enabled": False,
                "topic_disable_leader": True,
                "stream_buffer_maxsize": BUFFERED_EVENTS_MAX,
                "key_serializer": "raw",
                "value_serializer": "raw",
                "Table": BytesTable,
                "TableManager": UndelayedTableManager,
                **self.backend.settings(),
                **settings,
            }
        )

    def _new_transport(self) -> TransportT:
        return self.backend.transport(self, self.conf.broker_consumer)

    def _new_producer_transport(self) -> TransportT:
        return self.backend.transport(self, self.conf.broker_producer)

    def _create_directories(self) -> None:
        """Makes none: nothing is kept in Faust's own directories."""

    async def on_first_start(self) -> None:
        """Called once per process."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        await super().on_first_start()

    async def _producer_flush(self, logger: Any) -> None:
        # After a failure nothing more is sent: what was not flushed is not committed, and is made again after the restart.
        if self.crash_reason is None:
            await super()._producer_flush(logger)

    async def wait_for_failure(self) -> None:
        """Waits until the app has stopped; raises the reason where it failed."""
        await self.wait_until_stopped()
        if self.crash_reason is not None:
            raise self.crash_reason
