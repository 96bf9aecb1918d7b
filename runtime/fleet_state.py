"""The fleet in force in one process: read from files beside an embedded log, or from a store that several processes share.

`initial` is the fleet at the beginning of the log, `current` the one in force now. A change is appended to the log before it is
in force anywhere, so a process that follows the log always knows a device before its readings are accepted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from config.catalogue import Catalogue
from config.fleet_change import change_catalogue_from_json
from config.fleet_file import load_catalogue
from config.fleet_tables import TABLE_MODELS
from config.profile_file import load_profiles
from config.shared.plugins import profile_dirs as plugin_profile_dirs
from reactor.store.fleet_repository import FleetRepository
from runtime.fleet_files import catalogue_at, file_edits, initial_catalogue, record_seen, write_snapshot
from star.errors import InputError, StoreDamaged, StoreError
from stream.topics import INPUT
from stream.transports.embedded_log.sqlite_log import SqliteLog

POLL_S = 1.0
"""Interval at which the shared store is asked for changes made by other processes: how late a role may see a change."""
_log = structlog.get_logger("fleet")

AppendChange = Callable[[str], Awaitable[None]]
"""Appends a change (tables as JSON) to the log; durable when it returns."""


class FleetState(Protocol):
    """The fleet at the beginning of the log and the fleet in force now."""

    initial: Catalogue
    current: Catalogue

    def on_change(self, listener: Callable[[Catalogue], None]) -> None:
        """Registers a listener that is called, in the event loop, with each later catalogue in force."""
        ...

    async def change(self, tables: dict[str, Any], append_change: AppendChange, now_ms: int) -> None:
        """Changes the fleet by tables of a fleet file. Raises ConfigError with every problem; nothing is changed then.

        now_ms: the time of the change, as a shared store records it.
        """
        ...


class _ObservableFleet:
    """The listeners of a FleetState."""

    initial: Catalogue
    current: Catalogue

    def __init__(self) -> None:
        self._listeners: list[Callable[[Catalogue], None]] = []

    def on_change(self, listener: Callable[[Catalogue], None]) -> None:
        """See FleetState."""
        self._listeners.append(listener)

    def _set_current(self, catalogue: Catalogue) -> None:
        self.current = catalogue
        for listener in self._listeners:
            listener(catalogue)


class FileFleetState(_ObservableFleet):
    """The fleet of a service with an embedded log, in files of its data directory (fleet_files.py). Implements FleetState."""

    def __init__(self, folder: Path, fleet_file: Path, profile_dirs: tuple[Path, ...], log: SqliteLog) -> None:
        super().__init__()
        self._folder, self._file, self._profile_dirs = folder, fleet_file, profile_dirs
        self.initial = initial_catalogue(folder, fleet_file, profile_dirs)
        end = log.end(INPUT)
        self.current = catalogue_at(folder, self.initial, log, end)
        write_snapshot(folder, self.current, end)

    async def change(self, tables: dict[str, Any], append_change: AppendChange, now_ms: int) -> None:
        """See FleetState."""
        text = json.dumps(tables, ensure_ascii=False)
        catalogue = change_catalogue_from_json(self.current, text)
        await append_change(text)
        self._set_current(catalogue)

    async def apply_file_edits(self, append_change: AppendChange, now_ms: int) -> None:
        """Appends the edits of the fleet file since the last start to the log, as one change."""
        tables = file_edits(self._folder, self._file, self._profile_dirs)
        if tables:
            await self.change(tables, append_change, now_ms)
            _log.info("changed_fleet", rows=sum(len(rows) for rows in tables.values()))
        record_seen(self._folder, self._file)


class StoreFleetState(_ObservableFleet):
    """The fleet of several processes, in the store that they share. Implements FleetState. Raises StoreError where it is empty."""

    def __init__(self, repository: FleetRepository, profile_dirs: tuple[Path, ...]) -> None:
        super().__init__()
        self._repository = repository
        tables = repository.base()
        if tables is None:
            raise StoreError("the store has no fleet yet: expected `starloop fleet apply FILE`")
        self.initial = _catalogue(tables, profile_dirs)
        self.current = self.initial
        self._version = 0
        self.last_error: str | None = None
        self._set_current(self._latest())

    @staticmethod
    def save_initial(repository: FleetRepository, fleet_file: Path, profile_dirs: tuple[Path, ...]) -> bool:
        """Writes a fleet file to the store as the initial fleet; False where there is one already. Raises ConfigError."""
        catalogue = load_catalogue(fleet_file, *profile_dirs)
        return repository.insert_base(catalogue_tables(catalogue), 0)

    async def change(self, tables: dict[str, Any], append_change: AppendChange, now_ms: int) -> None:
        """See FleetState. A lock in the store lets one process change the fleet at a time."""
        text = json.dumps(tables, ensure_ascii=False)
        lock = self._repository.lock()
        await asyncio.to_thread(lock.__enter__)
        try:
            newest = await asyncio.to_thread(self._latest)
            catalogue = change_catalogue_from_json(newest, text)
            await append_change(text)
            self._version = await asyncio.to_thread(self._repository.append_change, text, now_ms)
        finally:
            await asyncio.to_thread(lock.__exit__, None, None, None)
        self._set_current(catalogue)

    async def follow(self) -> None:
        """Applies changes made by other processes, until cancelled. Raises StoreDamaged; other store errors are retried."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                newest = await asyncio.to_thread(self._latest)
            except StoreDamaged:
                raise
            except StoreError as error:
                if self.last_error is None:
                    _log.warning("lost_store", error=str(error))
                self.last_error = str(error)
                continue
            self.last_error = None
            if newest is not self.current:
                self._set_current(newest)
                _log.info("changed_fleet", version=self._version)

    def _latest(self) -> Catalogue:
        catalogue = self.current
        for version, tables in self._repository.changes(self._version):
            catalogue = change_catalogue_from_json(catalogue, tables)
            self._version = version
        return catalogue


def catalogue_tables(catalogue: Catalogue) -> dict[str, Any]:
    """The catalogue's rows as tables of a fleet file."""
    return {
        name: [row.model_dump(mode="json", exclude_unset=True) for row in getattr(catalogue, name).values()]
        for name in TABLE_MODELS
    }


def _catalogue(tables: dict[str, Any], profile_dirs: tuple[Path, ...]) -> Catalogue:
    profiles = load_profiles(*plugin_profile_dirs(), *profile_dirs)
    empty = Catalogue(customers={}, devices={}, suppliers={}, profiles=profiles, slots={}, parts={})
    try:
        return change_catalogue_from_json(empty, json.dumps(tables, ensure_ascii=False), source="the store's fleet")
    except InputError as error:
        raise InputError(f"the fleet in the store does not fit the profiles here: {error}") from error
