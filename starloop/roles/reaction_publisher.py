"""Brings reactions from the log to an MQTT endpoint: each at least once, in the order of its partition, retained."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import structlog

from reactor.channels.mqtt import AT_LEAST_ONCE, MqttPublisher, reactions_topic
from star.errors import LogDamaged, LogError, Unavailable
from stream.topics import REACTIONS
from stream.transports.log_client import FetchedRecord, LogClient

FETCH_RECORDS_MAX = 200
RETRY_MIN_S, RETRY_MAX_S = 0.2, 10.0
_log = structlog.get_logger("announcer")
T = TypeVar("T")


class ReactionPublisher:
    """Follows the reactions as `group` and publishes them; `run` it as a task."""

    def __init__(self, log: LogClient, group: str, publish: MqttPublisher) -> None:
        self._log = log
        self._group = group
        self._publish = publish
        self.last_error: str | None = None
        """Why reactions don't go out now."""

    async def run(self) -> None:
        """Until cancelled. What was published and not yet committed is published again after a kill."""
        follower = self._log.subscribe([REACTIONS], group=self._group)
        try:
            await self._retry(follower.start)
            while True:
                rows = await self._retry(lambda: follower.fetch(FETCH_RECORDS_MAX, wait_s=1.0))
                for row in rows:
                    await self._retry(partial(self._publish_row, row))
                if rows:
                    await self._retry(follower.commit)
        finally:
            await follower.close()

    async def _publish_row(self, row: FetchedRecord) -> None:
        await self._publish(reactions_topic((row.key or b"").decode()), row.value, AT_LEAST_ONCE, True)

    async def _retry(self, act: Callable[[], Awaitable[T]]) -> T:
        """What `act` gives, tried again while the log or the endpoint is away."""
        retry_s = RETRY_MIN_S
        while True:
            try:
                found = await act()
            except LogDamaged:
                raise
            except (LogError, Unavailable) as error:
                if self.last_error is None:
                    _log.warning("put_off_reactions", error=str(error))
                self.last_error = str(error)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, RETRY_MAX_S)
            else:
                self.last_error = None
                return found
