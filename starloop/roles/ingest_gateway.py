"""Ingest gateway: the single writer of a process to the input log, in one order, durable before acknowledgement."""

from __future__ import annotations

import asyncio
from typing import Any

from config.catalogue import Catalogue
from config.profile_schema import SlotSignal
from edge.adapters import installed_adapters
from edge.decoder import Decoder
from edge.ingest_service import IngestService
from edge.mqtt_broker.broker import Arrival
from operations.observability.logging import edge_event_logger
from runtime.fleet_state import FileFleetState
from star.errors import ConfigError, Problem
from star.records import FleetChange, Quarantined, Record, Tick
from starloop.roles.context import RoleContext
from stream.partition.partition_hash import partition_of
from stream.partition.partitioner import Partitioner, last_arrival_ms
from stream.partition.ticker import Ticker

_log_event = edge_event_logger("inlet")


class IngestGateway:
    """Ingests messages and records. `ingest`: the service for MQTT endpoints. ticker: only on the embedded log."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        settings, names = context.settings, context.store.names
        self.adapters = installed_adapters()
        decoder = Decoder(context.fleet.current, names, adapters=self.adapters, known_names=names.all())
        self._partitioner = Partitioner(context.log.partitions, names, lambda: context.fleet.current)
        start_ms = last_arrival_ms(context.embedded) if context.embedded is not None else 0
        self.ingest = IngestService(decoder, self._append, context.clock.now_ms, _log_event, start_ms)
        self.ingest.linger_s = settings.batch_ms / 1000
        self.ingest.batch_messages = settings.batch_messages_max
        self.ingest.waiting_bytes_max = settings.intake_bytes_max
        self.records_written = 0
        """Records written, without ticks."""
        self.ticker: Ticker | None = None
        if context.embedded is not None and settings.ticks == "service":
            self.ticker = Ticker(
                self.ingest.enqueue,
                self.ingest,
                busy_s=settings.tick_busy_ms / 1000,
                idle_s=settings.tick_idle_ms / 1000,
            )
        context.fleet.on_change(self._fleet_changed)

    async def register_metrics(self) -> None:
        """Registers the metrics that the fleet is expected to report."""
        await asyncio.to_thread(self._context.store.names.add, expected_metrics(self._context.fleet.current))

    async def append_record(self, record: Record) -> None:
        """Appends a record to the input in order; returns when it is on disk."""
        await self.ingest.enqueue(record)

    async def append_message(self, arrival: Arrival) -> None:
        """Ingests a message as if received over MQTT; returns when it is on disk."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ingest.offer([arrival], lambda: None if written.done() else written.set_result(None))
        await written

    async def change_fleet(self, tables: dict[str, Any]) -> None:
        """Changes the fleet, effective on return. Raises ConfigError with all problems, and then changes nothing."""
        check_device_moves(self._context.fleet.current, tables, self._context.log.partitions)
        await self._context.fleet.change(tables, self.append_fleet_change, self.ingest.now_ms())

    async def apply_file_edits(self) -> None:
        """Applies edits of the fleet file since the last start."""
        if isinstance(self._context.fleet, FileFleetState):
            await self._context.fleet.apply_file_edits(self.append_fleet_change, self.ingest.now_ms())

    async def append_fleet_change(self, tables: str) -> None:
        """Appends a fleet change (JSON tables) to the log."""
        await self.ingest.enqueue(FleetChange(at_ms=self.ingest.now_ms(), tables=tables))

    def _fleet_changed(self, catalogue: Catalogue) -> None:
        self.ingest.decoder.catalogue = catalogue

    async def _append(self, records: list[Record], quarantined: list[Quarantined]) -> None:
        with self._context.meters.append_seconds.time():
            await self._context.append(self._partitioner.entries(records, quarantined))
        written = sum(not isinstance(record, Tick) for record in records)
        self.records_written += written
        if written and self.ticker is not None:
            self.ticker.notify_arrival()


def check_device_moves(catalogue: Catalogue, tables: dict[str, Any], partitions: int) -> None:
    """Raises ConfigError for a device that would move to a customer of another partition.

    Its analysis state and need counter would stay in the old partition.
    """
    rows = tables.get("devices", [])
    problems = []
    for row in rows if isinstance(rows, list) else []:
        known = catalogue.devices.get(str(row.get("id"))) if isinstance(row, dict) else None
        to = None if known is None else row.get("customer")
        if known is None or not isinstance(to, str) or to == known.customer:
            continue
        if partition_of(to, partitions) != partition_of(known.customer, partitions):
            message = f"is {to!r}, was {known.customer!r}, who is in another partition of the log: expected a device with a new id"
            problems.append(Problem(file="change", line=None, field=f"devices.{known.id}.customer", message=message))
    if problems:
        raise ConfigError(problems)


def expected_metrics(catalogue: Catalogue) -> list[str]:
    """Metrics that the fleet is expected to report, to be registered in one transaction."""
    used = {key: f"{key}_used" if slot.signal is SlotSignal.USAGE else key for key, slot in catalogue.slots.items()}
    return [used[key] for key in sorted(used)]
