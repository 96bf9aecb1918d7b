"""Writes lines to InfluxDB until each is written or rejected for good.

While the server is away, overloaded or not set up, the same lines are sent again, for as long as it takes. Where a line is
invalid, the request is bisected until that line is alone, and the others are written; writing some of them twice changes
nothing. After `refused_max` rejected lines in a batch, larger pieces are rejected, so that one wrong type cannot stop the sink.

The retry loop is written out: it classifies responses, not exceptions, and each status has its own pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from stream.sinks.influx_writer import InfluxWriter, WriteResponse, WriteStatus
from stream.sinks.options import InfluxOptions

REJECTED_BYTES_MAX = 256 << 10
"""Rejected pieces larger than this are bisected further: each must fit into one record of either log."""


@dataclass(frozen=True, slots=True)
class RejectedLines:
    """Lines that the server rejects, and its reason."""

    lines: bytes
    reason: str


@dataclass(slots=True)
class BatchResult:
    """The result of a batch. written: points stored. too_old: points dropped by the bucket's retention."""

    written: int = 0
    too_old: int = 0
    rejected: list[RejectedLines] = field(default_factory=list)


class RetryingWriter:
    """Writes by `writer`. on_response: called with every response. jitter: gives 0 to 1, to spread the pauses."""

    def __init__(
        self,
        options: InfluxOptions,
        writer: InfluxWriter,
        *,
        on_response: Callable[[WriteResponse], None],
        jitter: Callable[[], float],
    ) -> None:
        self._options = options
        self._writer = writer
        self._on_response = on_response
        self._jitter = jitter

    async def write(self, lines: bytes) -> BatchResult:
        """Writes lines in their order; returns when each is written or rejected for good."""
        result = BatchResult()
        parts = [lines] if lines else []
        while parts:
            part = parts.pop()
            if len(part) > self._options.batch_bytes_max and (halves := _halves(part)):
                parts += reversed(halves)
                continue
            response = await self._write_with_retries(part)
            if response.status in (WriteStatus.WRITTEN, WriteStatus.TOO_OLD):
                result.written += count_points(part) - response.dropped_points
                result.too_old += response.dropped_points
                continue
            in_pieces = response.status is WriteStatus.TOO_LARGE or len(part) > REJECTED_BYTES_MAX
            halves = _halves(part) if in_pieces or len(result.rejected) < self._options.refused_max else ()
            if halves:
                parts += reversed(halves)
            else:
                result.rejected.append(RejectedLines(part, response.message))
        return result

    async def probe(self) -> WriteResponse:
        """Sends one empty request, without retries, to learn whether lines would be accepted."""
        response = await asyncio.to_thread(self._writer.write, b"")
        self._on_response(response)
        return response

    async def _write_with_retries(self, lines: bytes) -> WriteResponse:
        """Sends `lines` until the server is available and configured; gives its response."""
        tries = 0
        while True:
            response = await asyncio.to_thread(self._writer.write, lines)
            self._on_response(response)
            if response.status not in (WriteStatus.UNAVAILABLE, WriteStatus.MISCONFIGURED):
                return response
            await asyncio.sleep(self._wait_s(response, tries))
            tries += 1

    def _wait_s(self, response: WriteResponse, tries: int) -> float:
        """The pause before the next try: as the server asked, or doubling with each try; with jitter."""
        options = self._options
        if response.retry_after_s is not None:
            return response.retry_after_s + self._jitter()
        if response.status is WriteStatus.MISCONFIGURED:
            return options.setup_retry_s
        doubled = min(options.backoff_s * 2.0 ** min(tries, 30), options.backoff_max_s)
        return doubled * (0.5 + 0.5 * self._jitter())


def count_points(lines: bytes) -> int:
    """The number of lines."""
    return lines.count(b"\n") + 1 if lines else 0


def _halves(lines: bytes) -> tuple[bytes, bytes] | tuple[()]:
    """The lines in two halves; () where there is one line."""
    middle = lines.find(b"\n", len(lines) // 2)
    if middle < 0:
        middle = lines.rfind(b"\n")
    return (lines[:middle], lines[middle + 1 :]) if middle >= 0 else ()
