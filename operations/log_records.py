"""Batched reads of a log topic, for tools that go through a whole topic while the service may be appending to it."""

from __future__ import annotations

from collections.abc import Iterator

from star.ports import Log

READ_BATCH_RECORDS = 500
"""Records per read: larger batches need more memory, smaller ones more queries."""


def read_range(log: Log, topic: str, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(offset, value) of the records from `start` to before `end`, or to the end of the topic if that is earlier."""
    while start < end:
        rows = log.read(topic, start, min(READ_BATCH_RECORDS, end - start))
        if not rows:
            return
        yield from rows
        start = rows[-1][0] + 1
