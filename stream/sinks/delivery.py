"""Brings lines to InfluxDB, whatever it answers, and gives them up only one by one and with the reason.

Away, overloaded, not set up: the same lines again, later, for as long as it takes. A bad line among them: the lines are
halved until it stands alone, and the others are written; writing some of them twice changes nothing. Where that would take
too long (`refused_max` in a batch), what is refused is set aside in larger pieces: a stray type must not stop the flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from stream.sinks.door import Answer, Door, Verdict
from stream.sinks.options import InfluxOptions

SET_ASIDE_BYTES_MAX = 256 << 10
"""A piece of refused lines larger than this is halved further: it must fit into a record of any log."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Lines that the server does not take, and why."""

    lines: bytes
    reason: str


@dataclass(slots=True)
class Brought:
    """What came of a batch. written: points that the server has; too_old: points that the bucket does not keep."""

    written: int = 0
    too_old: int = 0
    refused: list[Refused] = field(default_factory=list)


class Delivery:
    """One way to a server. told: is called with every answer.

    chance: gives 0 to 1, for the jitter of waiting.
    """

    def __init__(
        self, options: InfluxOptions, door: Door, *, told: Callable[[Answer], None], chance: Callable[[], float]
    ) -> None:
        self._options = options
        self._door = door
        self._told = told
        self._chance = chance

    async def bring(self, lines: bytes) -> Brought:
        """Returns when every line is written, or refused for good. Lines are written in their order."""
        brought = Brought()
        parts = [lines] if lines else []
        while parts:
            part = parts.pop()
            if len(part) > self._options.batch_bytes_max and (halves := _halves(part)):
                parts += reversed(halves)
                continue
            answer = await self._answered(part)
            if answer.verdict in (Verdict.WRITTEN, Verdict.TOO_OLD):
                brought.written += points_in(part) - answer.dropped
                brought.too_old += answer.dropped
                continue
            in_pieces = answer.verdict is Verdict.TOO_LARGE or len(part) > SET_ASIDE_BYTES_MAX
            halves = _halves(part) if in_pieces or len(brought.refused) < self._options.refused_max else ()
            if halves:
                parts += reversed(halves)
            else:
                brought.refused.append(Refused(part, answer.said))
        return brought

    async def ask(self) -> Answer:
        """Whether lines would be taken now; once, without waiting for it to become so."""
        answer = await asyncio.to_thread(self._door.write, b"")
        self._told(answer)
        return answer

    async def _answered(self, lines: bytes) -> Answer:
        """The answer to `lines` by a server that is there and will have us."""
        tries = 0
        while True:
            answer = await asyncio.to_thread(self._door.write, lines)
            self._told(answer)
            if answer.verdict not in (Verdict.AWAY, Verdict.SET_UP):
                return answer
            await asyncio.sleep(self._wait_s(answer, tries))
            tries += 1

    def _wait_s(self, answer: Answer, tries: int) -> float:
        """How long to wait: as the server asks, or longer with each try, each time a little different."""
        options = self._options
        if answer.retry_after_s is not None:
            return answer.retry_after_s + self._chance()
        if answer.verdict is Verdict.SET_UP:
            return options.setup_retry_s
        doubled = min(options.backoff_s * 2.0 ** min(tries, 30), options.backoff_max_s)
        return doubled * (0.5 + 0.5 * self._chance())


def points_in(lines: bytes) -> int:
    """How many lines there are."""
    return lines.count(b"\n") + 1 if lines else 0


def _halves(lines: bytes) -> tuple[bytes, bytes] | tuple[()]:
    """The lines in two parts; none where there is one line."""
    middle = lines.find(b"\n", len(lines) // 2)
    if middle < 0:
        middle = lines.rfind(b"\n")
    return (lines[:middle], lines[middle + 1 :]) if middle >= 0 else ()
