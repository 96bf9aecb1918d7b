"""The site agent: messages of devices, decoded by the adapters and stored in the outbox until the centre can be reached.

It does not know the fleet; the centre decides which devices and readings count. A reading without a time gets the time of
its arrival at the site, as the transfer to the centre may take days. A message is acknowledged once the outbox has it on
disk.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Never

from edge.adapters import Adapter, DecodedReading, decode_payload, installed_adapters
from edge.adapters.base import abbreviate, parse_json
from edge.adapters.canonical import TOPIC_ROOT
from edge.ingest_batcher import IngestBatcher
from edge.mqtt_broker.broker import Arrival
from edge.outbox import Outbox, UplinkMessage
from star.errors import BadPayload
from star.sense import NO_BOOT, NO_SEQ
from star.times import epoch_seconds

EVENT_KINDS = ("requests", "outcomes", "status")


class SiteAgent(IngestBatcher[Never]):
    """An Ingest (edge.mqtt_broker.broker) in front of an outbox.

    disk: the one thread in which the outbox is used. on_stored: called after each append. The others are IngestBatcher's.
    """

    def __init__(
        self,
        outbox: Outbox,
        disk: ThreadPoolExecutor,
        on_stored: Callable[[], None],
        clock_ms: Callable[[], int],
        log_event: Callable[..., None],
        adapters: Mapping[str, Adapter] | None = None,
    ) -> None:
        super().__init__(clock_ms, log_event)
        self._outbox = outbox
        self._disk = disk
        self._on_stored = on_stored
        self._adapters = installed_adapters() if adapters is None else adapters

    async def store_batch(self, batch: Sequence[Arrival]) -> None:
        """Decodes the batch and appends it to the outbox; waits while that is full."""
        messages: list[UplinkMessage] = []
        rejected: list[tuple[int, str, bytes, str]] = []
        for one in batch:
            try:
                messages += to_uplink_messages(self._adapters, one)
            except BadPayload as error:
                rejected.append((one.arrived_ms, one.topic, one.payload, str(error)))
                self._log_event("payload_refused", topic=one.topic, reason=str(error))
        if rejected:
            await self._retry_until_written(lambda: self._outbox.reject(rejected))
        if messages:
            await self._retry_until_written(lambda: self._outbox.append(messages))
            self._on_stored()

    async def _retry_until_written(self, write: Callable[[], None]) -> None:
        async def written() -> None:
            await asyncio.get_running_loop().run_in_executor(self._disk, write)

        await self.retry_until_stored(written, "outbox_not_written")


def to_uplink_messages(adapters: Mapping[str, Adapter], arrival: Arrival) -> list[UplinkMessage]:
    """The messages that the centre gets for a message of the site. Raises BadPayload for one that no adapter recognizes.

    A message on a canonical topic that can't be read is forwarded unchanged, so that it ends in the centre's quarantine.
    """
    parts = arrival.topic.split("/")
    canonical = arrival.topic.startswith(TOPIC_ROOT) and len(parts) == 4
    if canonical and parts[3] in EVENT_KINDS:
        return [UplinkMessage(arrival.topic, _with_arrival_time(parts[3], arrival), parts[3] == "status")]
    try:
        found = decode_payload(adapters, arrival.topic, arrival.payload, arrival.arrived_ms)
    except BadPayload:
        if canonical:
            return [UplinkMessage(arrival.topic, arrival.payload)]
        raise
    if found is None:
        raise BadPayload(f"no adapter knows the topic {abbreviate(arrival.topic)} with such a payload")
    return [_to_uplink_message(reading, arrival.arrived_ms) for reading in found[1]]


def _with_arrival_time(kind: str, arrival: Arrival) -> bytes:
    """The payload; an outcome without a time gets the time of arrival."""
    if kind != "outcomes":
        return arrival.payload
    try:
        body = parse_json(arrival.payload)
    except BadPayload:
        return arrival.payload
    if not isinstance(body, dict) or body.get("at") is not None:
        return arrival.payload
    return json.dumps({**body, "at": epoch_seconds(arrival.arrived_ms)}).encode()


def _to_uplink_message(reading: DecodedReading, arrived_ms: int) -> UplinkMessage:
    """A reading as canonical telemetry."""
    body: dict[str, Any] = {"at": epoch_seconds(arrived_ms if reading.at_ms is None else reading.at_ms)}
    if reading.boot != NO_BOOT:
        body["boot"] = reading.boot
    if reading.seq != NO_SEQ:
        body["seq"] = reading.seq
    body["values"] = dict(reading.values)
    return UplinkMessage(f"{TOPIC_ROOT}{reading.device}/telemetry", json.dumps(body, ensure_ascii=False).encode())
