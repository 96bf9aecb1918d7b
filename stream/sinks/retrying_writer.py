"""Brings lines to InfluxDB, whatever it answers, and gives them up only one by one and with the reason.

Away, overloaded, not set up: the same lines again, later, for as long as it takes. A bad line among them: the lines are
halved until it stands alone, and the others are written; writing some of them twice changes nothing. Where that would take
too long (`refused_max` in a batch), what is refused is set aside in larger pieces: a stray type must not stop the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from stream.sinks.influx_writer import InfluxWriter, WriteResponse, WriteStatus
from stream.sinks.options import InfluxOptions

REJECTED_BYTES_MAX = 256 << 10
"""A piece of refused lines larger than this is halved further: it must fit into a record of any log."""


@dataclass(frozen=True, slots=True)
class RejectedLines:
    """Lines that the server does not take, and why."""

    lines: bytes
    reason: str


@dataclass(slots=True)
class BatchResult:
    """What came of a batch. written: points that the server has; too_old: points that the bucket does not keep."""

    written: int = 0
    too_old: int = 0
    rejected: list[RejectedLines] = field(default_factory=list)


class RetryingWriter:
    """One way to a server. told: is called with every answer.

    chance: gives 0 to 1, for the jitter of waiting.
    """

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
        """Returns when every line is written, or refused for good. Lines are written in their order."""
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
        """Whether lines would be taken now; once, without waiting for it to become so."""
        response = await asyncio.to_thread(self._writer.write, b"")
        self._on_response(response)
        return response

    async def _write_with_retries(self, lines: bytes) -> WriteResponse:
        """The answer to `lines` by a server that is there and will have us."""
        tries = 0
        while True:
            response = await asyncio.to_thread(self._writer.write, lines)
            self._on_response(response)
            if response.status not in (WriteStatus.UNAVAILABLE, WriteStatus.MISCONFIGURED):
                return response
            await asyncio.sleep(self._wait_s(response, tries))
            tries += 1

    def _wait_s(self, response: WriteResponse, tries: int) -> float:
        """How long to wait: as the server asks, or longer with each try, each time a little different."""
        options = self._options
        if response.retry_after_s is not None:
            return response.retry_after_s + self._jitter()
        if response.status is WriteStatus.MISCONFIGURED:
            return options.setup_retry_s
        doubled = min(options.backoff_s * 2.0 ** min(tries, 30), options.backoff_max_s)
        return doubled * (0.5 + 0.5 * self._jitter())


def count_points(lines: bytes) -> int:
    """How many lines there are."""
    return lines.count(b"\n") + 1 if lines else 0


def _halves(lines: bytes) -> tuple[bytes, bytes] | tuple[()]:
    """The lines in two parts; none where there is one line."""
    middle = lines.find(b"\n", len(lines) // 2)
    if middle < 0:
        middle = lines.rfind(b"\n")
    return (lines[:middle], lines[middle + 1 :]) if middle >= 0 else ()
