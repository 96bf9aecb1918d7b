"""The door: the one way by which a process puts anything into the log, in one order, durable before it is acknowledged."""

from __future__ import annotations

import asyncio
from typing import Any

from config.profiles import Signal
from config.resolve import Catalogue
from edge import adapters
from edge.gate.hub import Arrival
from edge.inlet import Inlet
from edge.intake import Intake
from star.errors import ConfigError, Problem
from star.records import FleetChange, Quarantined, Record, Tick
from starloop.fleets import FileFleet
from starloop.logging import saying
from starloop.roles.base import Base
from stream.inlet import Sorter, last_arrival_ms
from stream.partitions import partition_of
from stream.ticker import Ticker

_say = saying("inlet")


class Door:
    """Takes messages and records in. `inlet` is the Ingest of endpoints; on the embedded log it ticks too."""

    def __init__(self, base: Base) -> None:
        self._base = base
        settings, names = base.settings, base.store.names
        self.readers = adapters.installed()
        intake = Intake(base.fleet.current, names, readers=self.readers, known_names=names.all())
        self._sorter = Sorter(base.log.partitions, names, lambda: base.fleet.current)
        start_ms = last_arrival_ms(base.embedded) if base.embedded is not None else 0
        self.inlet = Inlet(intake, self._append, base.clock.now_ms, _say, start_ms)
        self.inlet.gather_s = settings.batch_ms / 1000
        self.inlet.batch_messages = settings.batch_messages_max
        self.inlet.waiting_bytes_max = settings.intake_bytes_max
        self.kept = 0
        """Records written, ticks left out."""
        self.ticker: Ticker | None = None
        if base.embedded is not None and settings.ticks == "service":
            self.ticker = Ticker(
                self.inlet.put,
                self.inlet,
                busy_s=settings.tick_busy_ms / 1000,
                idle_s=settings.tick_idle_ms / 1000,
            )
        base.fleet.on_change(self._fleet_changed)

    async def open(self) -> None:
        """Numbers the values that the fleet is known to report."""
        await asyncio.to_thread(self._base.store.names.add, expected_metrics(self._base.fleet.current))

    async def put(self, record: Record) -> None:
        """Puts a record into the input in its turn; returns when it is on disk."""
        await self.inlet.put(record)

    async def offer(self, arrival: Arrival) -> None:
        """Takes a message in as over MQTT; returns when it is on disk."""
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.inlet.offer([arrival], lambda: None if kept.done() else kept.set_result(None))
        await kept

    async def change_fleet(self, tables: dict[str, Any]) -> None:
        """Changes the fleet; in force when it returns. Raises ConfigError with every problem, and changes nothing then."""
        check_moves(self._base.fleet.current, tables, self._base.log.partitions)
        await self._base.fleet.change(tables, self.announce, self.inlet.now_ms())

    async def take_edits(self) -> None:
        """Edits of a fleet file since the last start."""
        if isinstance(self._base.fleet, FileFleet):
            await self._base.fleet.take_edits(self.announce, self.inlet.now_ms())

    async def announce(self, tables: str) -> None:
        """Puts a change of the fleet (JSON) into the log."""
        await self.inlet.put(FleetChange(at_ms=self.inlet.now_ms(), tables=tables))

    def _fleet_changed(self, catalogue: Catalogue) -> None:
        self.inlet.intake.catalogue = catalogue

    async def _append(self, records: list[Record], quarantined: list[Quarantined]) -> None:
        with self._base.meters.append_seconds.time():
            await self._base.append(self._sorter.entries(records, quarantined))
        news = sum(not isinstance(record, Tick) for record in records)
        self.kept += news
        if news and self.ticker is not None:
            self.ticker.arrived()


def check_moves(catalogue: Catalogue, tables: dict[str, Any], partitions: int) -> None:
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
    used = {key: f"{key}_used" if slot.signal is Signal.USAGE else key for key, slot in catalogue.slots.items()}
    return [used[key] for key in sorted(used)]
