"""The door: the one way by which a process puts anything into the log, in one order, durable before it is acknowledged."""

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

_say = edge_event_logger("inlet")


class IngestGateway:
    """Takes messages and records in. `inlet` is the Ingest of endpoints; on the embedded log it ticks too."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        settings, names = context.settings, context.store.names
        self.adapters = installed_adapters()
        intake = Decoder(context.fleet.current, names, adapters=self.adapters, known_names=names.all())
        self._partitioner = Partitioner(context.log.partitions, names, lambda: context.fleet.current)
        start_ms = last_arrival_ms(context.embedded) if context.embedded is not None else 0
        self.ingest = IngestService(intake, self._append, context.clock.now_ms, _say, start_ms)
        self.ingest.linger_s = settings.batch_ms / 1000
        self.ingest.batch_messages = settings.batch_messages_max
        self.ingest.waiting_bytes_max = settings.intake_bytes_max
        self.records_written = 0
        """Records written, ticks left out."""
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
        """Numbers the values that the fleet is known to report."""
        await asyncio.to_thread(self._context.store.names.add, expected_metrics(self._context.fleet.current))

    async def append_record(self, record: Record) -> None:
        """Puts a record into the input in its turn; returns when it is on disk."""
        await self.ingest.enqueue(record)

    async def append_message(self, arrival: Arrival) -> None:
        """Takes a message in as over MQTT; returns when it is on disk."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ingest.offer([arrival], lambda: None if kept.done() else kept.set_result(None))
        await kept

    async def change_fleet(self, tables: dict[str, Any]) -> None:
        """Changes the fleet; in force when it returns. Raises ConfigError with every problem, and changes nothing then."""
        check_device_moves(self._context.fleet.current, tables, self._context.log.partitions)
        await self._context.fleet.change(tables, self.append_fleet_change, self.ingest.now_ms())

    async def apply_file_edits(self) -> None:
        """Edits of a fleet file since the last start."""
        if isinstance(self._context.fleet, FileFleetState):
            await self._context.fleet.apply_file_edits(self.append_fleet_change, self.ingest.now_ms())

    async def append_fleet_change(self, tables: str) -> None:
        """Puts a change of the fleet (JSON) into the log."""
        await self.ingest.enqueue(FleetChange(at_ms=self.ingest.now_ms(), tables=tables))

    def _fleet_changed(self, catalogue: Catalogue) -> None:
        self.ingest.decoder.catalogue = catalogue

    async def _append(self, records: list[Record], quarantined: list[Quarantined]) -> None:
        with self._context.meters.append_seconds.time():
            await self._context.append(self._partitioner.entries(records, quarantined))
        news = sum(not isinstance(record, Tick) for record in records)
        self.records_written += news
        if news and self.ticker is not None:
            self.ticker.notify_arrival()


def check_device_moves(catalogue: Catalogue, tables: dict[str, Any], partitions: int) -> None:
    """Raises ConfigError for a device that would go to a customer of another partition: what is known of it, and the number of
    its needs, would stay behind."""
    rows = tables.get("devices", [])
    problems = []
    for row in rows if isinstance(rows, list) else []:
        known = catalogue.devices.get(str(row.get("id"))) if isinstance(row, dict) else None
        to = None if known is None else row.get("customer")
        if known is None or not isinstance(to, str) or to == known.customer:
            continue
        if partition_of(to, partitions) != partition_of(known.customer, partitions):
            message = f"is {to!r}, and was {known.customer!r}, whose partition of the log is another: expected a device with a new id"
            problems.append(Problem(file="change", line=None, field=f"devices.{known.id}.customer", message=message))
    if problems:
        raise ConfigError(problems)


def expected_metrics(catalogue: Catalogue) -> list[str]:
    """Names of the values that devices of the fleet are known to report: registered together, not one transaction each."""
    used = {key: f"{key}_used" if slot.signal is SlotSignal.USAGE else key for key, slot in catalogue.slots.items()}
    return [used[key] for key in sorted(used)]
