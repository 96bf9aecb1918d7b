"""Retries with exponential back-off while the log, the store or an endpoint is unavailable.

Roles start in any order and outlive outages of the servers they use: an operation is repeated until it succeeds, and the reason
is kept for the readiness check. Errors that a retry can't resolve are raised at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from star.errors import StarloopError

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Retry:
    """Retry policy. retryable: errors to retry. fatal: subclasses of them that are raised. min_s, max_s: back-off in seconds.

    on_error(error, retry_s, previous): called for each failure, with the message of the previous failure (None for the first).
    """

    retryable: tuple[type[StarloopError], ...]
    fatal: tuple[type[StarloopError], ...]
    min_s: float
    max_s: float
    on_error: Callable[[StarloopError, float, str | None], None]
    last_error: str | None = None
    """Why the operation fails now; None after a success."""

    async def run(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Result of the operation, repeated until it succeeds. Raises its fatal errors."""
        retry_s = self.min_s
        while True:
            try:
                result = await operation()
            except self.fatal:
                raise
            except self.retryable as error:
                self.on_error(error, retry_s, self.last_error)
                self.last_error = str(error)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, self.max_s)
            else:
                self.last_error = None
                return result
