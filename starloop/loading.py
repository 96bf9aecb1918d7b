"""A history into a log: the lines of a readings file become records with the times they tell."""

from __future__ import annotations

from pathlib import Path

from config.settings import Settings
from edge import adapters
from edge.intake import Intake
from star.errors import BadPayload
from star.records import Quarantined, Record
from starloop.clock import WallClock
from starloop.lines import SHORTEST_LINE, LineIntake
from starloop.roles.base import Base, opened
from stream.inlet import Sorter

BATCH_LINES = 2_000
"""Lines that are written together."""


async def load_lines(settings: Settings, file: Path, fleet_file: Path | None) -> int:
    """Loads the file's lines; how many. Raises InputError, LogError."""
    async with opened(settings, WallClock(), "load", fleet_file) as base:
        loader = _Loader(base)
        with file.open("rb") as lines:
            for line in lines:
                await loader.take(line)
        await loader.write()
        return loader.count


class _Loader:
    def __init__(self, base: Base) -> None:
        names = base.store.names
        intake = Intake(base.fleet.current, names, readers=adapters.installed(), known_names=names.all())
        self._lines = LineIntake(intake)
        self._sorter = Sorter(base.log.partitions, names, lambda: intake.catalogue)
        self._base = base
        self._waiting = 0
        self.count = 0

    async def take(self, line: bytes) -> None:
        """Takes one line."""
        if len(line) < SHORTEST_LINE and not line.strip():
            return
        try:
            self._lines.take(line)
        except BadPayload as error:
            self._lines.refuse(line, str(error))
        self.count += 1
        self._waiting += 1
        if self._waiting >= BATCH_LINES:
            await self.write()

    async def write(self) -> None:
        """Appends what was taken."""
        self._waiting = 0
        records: list[Record] = []
        quarantined: list[Quarantined] = []
        for record in self._lines.drain():
            if isinstance(record, Quarantined):
                quarantined.append(record)
            else:
                records.append(record)
        await self._base.log.append(self._sorter.entries(records, quarantined))
