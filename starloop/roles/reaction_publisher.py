"""Reaction publisher: publishes reactions of the log to MQTT, retained, at least once, in order per partition."""

from __future__ import annotations

from functools import partial

import structlog

from reactor.channels.mqtt import AT_LEAST_ONCE, MqttPublisher, reactions_topic
from star.errors import LogDamaged, LogError, StarloopError, Unavailable
from starloop.roles.retry import Retry
from stream.topics import REACTIONS
from stream.transports.log_client import FetchedRecord, LogClient

FETCH_RECORDS_MAX = 200
RETRY_MIN_S, RETRY_MAX_S = 0.2, 10.0
"""Back-off while the log or the endpoint is unavailable, in seconds."""
_log = structlog.get_logger("announcer")


class ReactionPublisher:
    """Consumes reactions as consumer group `group` and publishes them; `run` is its task."""

    def __init__(self, log: LogClient, group: str, publish: MqttPublisher) -> None:
        self._log = log
        self._group = group
        self._publish = publish
        self._retry = Retry(
            retryable=(LogError, Unavailable),
            fatal=(LogDamaged,),
            min_s=RETRY_MIN_S,
            max_s=RETRY_MAX_S,
            on_error=_warn_once,
        )

    @property
    def last_error(self) -> str | None:
        """Why reactions are not published now; None if they are."""
        return self._retry.last_error

    async def run(self) -> None:
        """Publishes until cancelled. Reactions published but not committed are published again after a crash."""
        follower = self._log.subscribe([REACTIONS], group=self._group)
        try:
            await self._retry.run(follower.start)
            while True:
                rows = await self._retry.run(lambda: follower.fetch(FETCH_RECORDS_MAX, wait_s=1.0))
                for row in rows:
                    await self._retry.run(partial(self._publish_row, row))
                if rows:
                    await self._retry.run(follower.commit)
        finally:
            await follower.close()

    async def _publish_row(self, row: FetchedRecord) -> None:
        await self._publish(reactions_topic((row.key or b"").decode()), row.value, AT_LEAST_ONCE, True)


def _warn_once(error: StarloopError, _retry_s: float, previous: str | None) -> None:
    if previous is None:
        _log.warning("put_off_reactions", error=str(error))
