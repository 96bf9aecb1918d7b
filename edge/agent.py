"""A site's agent: what devices say, read by the adapters, kept on disk, brought to the centre when it can be reached.

It knows no fleet and judges nothing: that is the centre's. A reading without a time is given the time of its arrival at the
site, as the way to the centre may take days. A message is acknowledged when the outbox has it on disk.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Never

from edge import adapters
from edge.adapters import Adapter, Decoded
from edge.adapters.base import parse_json, shown
from edge.adapters.canonical import TOPIC_ROOT
from edge.gate.hub import Arrival
from edge.gather import Gather
from edge.outbox import Outbox, Parcel
from star.errors import BadPayload
from star.sense import NO_BOOT, NO_SEQ
from star.times import seconds

SAID = ("requests", "outcomes", "status")


class SiteAgent(Gather[Never]):
    """An Ingest (edge.gate.hub) in front of an outbox. kept: called when there is something new in it.

    disk: the one thread in which the outbox is used; other arguments as Gather's.
    """

    def __init__(
        self,
        outbox: Outbox,
        disk: ThreadPoolExecutor,
        kept: Callable[[], None],
        clock_ms: Callable[[], int],
        say: Callable[..., None],
        readers: Sequence[Adapter] | None = None,
    ) -> None:
        super().__init__(clock_ms, say)
        self._outbox = outbox
        self._disk = disk
        self._kept_something = kept
        self._readers = adapters.installed() if readers is None else tuple(readers)

    async def keep(self, batch: Sequence[Arrival]) -> None:
        """Reads the batch and writes it to the outbox; waits while that is full."""
        parcels: list[Parcel] = []
        refused: list[tuple[int, str, bytes, str]] = []
        for one in batch:
            try:
                parcels += parcels_of(self._readers, one)
            except BadPayload as error:
                refused.append((one.arrived_ms, one.topic, one.payload, str(error)))
                self._say("payload_refused", topic=one.topic, reason=str(error))
        if refused:
            await self._until_written(lambda: self._outbox.refuse(refused))
        if parcels:
            await self._until_written(lambda: self._outbox.append(parcels))
            self._kept_something()

    async def _until_written(self, write: Callable[[], None]) -> None:
        async def written() -> None:
            await asyncio.get_running_loop().run_in_executor(self._disk, write)

        await self.until_kept(written, "outbox_not_written")


def parcels_of(readers: Sequence[Adapter], arrival: Arrival) -> list[Parcel]:
    """What a message becomes on its way to the centre. Raises BadPayload for one that belongs nowhere there.

    A message on a canonical topic that can't be read goes on as it is: the centre's quarantine is where people look.
    """
    parts = arrival.topic.split("/")
    canonical = arrival.topic.startswith(TOPIC_ROOT) and len(parts) == 4
    if canonical and parts[3] in SAID:
        return [Parcel(arrival.topic, _dated(parts[3], arrival), parts[3] == "status")]
    try:
        found = adapters.decode(readers, arrival.topic, arrival.payload, arrival.arrived_ms)
    except BadPayload:
        if canonical:
            return [Parcel(arrival.topic, arrival.payload)]
        raise
    if found is None:
        raise BadPayload(f"no adapter knows the topic {shown(arrival.topic)} with such a payload")
    return [_parcel(reading, arrival.arrived_ms) for reading in found[1]]


def _dated(kind: str, arrival: Arrival) -> bytes:
    """The payload, with the time of arrival where an outcome does not say when it happened."""
    if kind != "outcomes":
        return arrival.payload
    try:
        said = parse_json(arrival.payload)
    except BadPayload:
        return arrival.payload
    if not isinstance(said, dict) or said.get("at") is not None:
        return arrival.payload
    return json.dumps({**said, "at": seconds(arrival.arrived_ms)}).encode()


def _parcel(reading: Decoded, arrived_ms: int) -> Parcel:
    """A reading in the canonical dialect."""
    said: dict[str, Any] = {"at": seconds(arrived_ms if reading.at_ms is None else reading.at_ms)}
    if reading.boot != NO_BOOT:
        said["boot"] = reading.boot
    if reading.seq != NO_SEQ:
        said["seq"] = reading.seq
    said["values"] = dict(reading.values)
    return Parcel(f"{TOPIC_ROOT}{reading.device}/telemetry", json.dumps(said, ensure_ascii=False).encode())
