"""The channel of endpoint "log": orders are recorded and not sent, for trials and for suppliers ordered from by hand.

The record is the reaction itself, in the store and on the log's topic `reactions`.
"""

from __future__ import annotations

from reactor.channels.base import ChannelEnvironment
from star.react import Reaction


class LogChannel:
    """Sends nothing."""

    endpoint_schemes = frozenset({"log"})
    contact_schemes: frozenset[str] = frozenset()

    def open(self, environment: ChannelEnvironment) -> LogChannel:
        """Itself, as there is nothing to open."""
        return self

    async def send(self, reaction: Reaction, address: str) -> None:
        """Returns at once."""

    async def close(self) -> None:
        """Nothing is held."""
