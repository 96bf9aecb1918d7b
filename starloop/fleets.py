"""The fleet in force, as a role knows it: from the fleet file beside an embedded log, or from the book in a shared store.

`base` is the fleet at the beginning of the log, `current` what is in force now; a change is a record of the log first, and
part of the book then, so that whoever works by the log never knows less than those who let devices in.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from config.change import apply_text
from config.fleet_file import load_catalogue
from config.plugins import profile_dirs as plugin_profile_dirs
from config.profile_file import load_profiles
from config.resolve import Catalogue
from config.tables import TABLES
from reactor.store.fleet_book import FleetBook
from star.errors import InputError, StoreDamaged, StoreError
from starloop.fleet_in_force import catalogue_at, edits, first_catalogue, keep, seen
from stream.topics import INPUT
from stream.transports.log import SqliteLog

FOLLOW_S = 1.0
"""Between looks at the book for changes that others made."""
_log = structlog.get_logger("fleet")

Announce = Callable[[str], Awaitable[None]]
"""Puts a change (tables as JSON) into the log; in force there when it returns."""


class Fleet(Protocol):
    """The fleet at the beginning of the log, and now."""

    base: Catalogue
    current: Catalogue

    def on_change(self, told: Callable[[Catalogue], None]) -> None:
        """From now on `told` is called, in the event loop, whenever another fleet is in force."""
        ...

    async def change(self, tables: dict[str, Any], announce: Announce, now_ms: int) -> None:
        """Changes the fleet. Raises ConfigError with every problem, and changes nothing then."""
        ...


class _Told:
    """Those who are told of another fleet."""

    base: Catalogue
    current: Catalogue

    def __init__(self) -> None:
        self._listeners: list[Callable[[Catalogue], None]] = []

    def on_change(self, told: Callable[[Catalogue], None]) -> None:
        """See Fleet."""
        self._listeners.append(told)

    def _in_force(self, catalogue: Catalogue) -> None:
        self.current = catalogue
        for told in self._listeners:
            told(catalogue)


class FileFleet(_Told):
    """Implements Fleet beside an embedded log: see fleet_in_force.py."""

    def __init__(self, folder: Path, fleet_file: Path, profile_dirs: tuple[Path, ...], log: SqliteLog) -> None:
        super().__init__()
        self._folder, self._file, self._profile_dirs = folder, fleet_file, profile_dirs
        self.base = first_catalogue(folder, fleet_file, profile_dirs)
        end = log.end(INPUT)
        self.current = catalogue_at(folder, self.base, log, end)
        keep(folder, self.current, end)

    async def change(self, tables: dict[str, Any], announce: Announce, now_ms: int) -> None:
        """See Fleet."""
        text = json.dumps(tables, ensure_ascii=False)
        catalogue = apply_text(self.current, text)
        await announce(text)
        self._in_force(catalogue)

    async def take_edits(self, announce: Announce, now_ms: int) -> None:
        """Edits of the fleet file since the last start become a record of the input."""
        tables = edits(self._folder, self._file, self._profile_dirs)
        if tables:
            await self.change(tables, announce, now_ms)
            _log.info("changed_fleet", rows=sum(len(rows) for rows in tables.values()))
        seen(self._folder, self._file)


class BookFleet(_Told):
    """Implements Fleet over the book in a store that several processes share. Raises InputError for an empty book."""

    def __init__(self, book: FleetBook, profile_dirs: tuple[Path, ...]) -> None:
        super().__init__()
        self._book = book
        tables = book.base()
        if tables is None:
            raise StoreError("the store knows no fleet yet: expected `starloop fleet apply FILE`")
        self.base = _catalogue(tables, profile_dirs)
        self.current = self.base
        self._version = 0
        self.trouble: str | None = None
        self._in_force(self._newest())

    @staticmethod
    def put_base(book: FleetBook, fleet_file: Path, profile_dirs: tuple[Path, ...]) -> bool:
        """Keeps a fleet file as the fleet at the beginning; False where there is one already. Raises ConfigError."""
        catalogue = load_catalogue(fleet_file, *profile_dirs)
        return book.put_base(tables_of(catalogue), 0)

    async def change(self, tables: dict[str, Any], announce: Announce, now_ms: int) -> None:
        """See Fleet. One process of all changes it at a time."""
        text = json.dumps(tables, ensure_ascii=False)
        lock = self._book.lock()
        await asyncio.to_thread(lock.__enter__)
        try:
            newest = await asyncio.to_thread(self._newest)
            catalogue = apply_text(newest, text)
            await announce(text)
            self._version = await asyncio.to_thread(self._book.add_change, text, now_ms)
        finally:
            await asyncio.to_thread(lock.__exit__, None, None, None)
        self._in_force(catalogue)

    async def follow(self) -> None:
        """Takes up changes that other processes made, until cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                newest = await asyncio.to_thread(self._newest)
            except StoreDamaged:
                raise
            except StoreError as error:
                if self.trouble is None:
                    _log.warning("lost_store", error=str(error))
                self.trouble = str(error)
                continue
            self.trouble = None
            if newest is not self.current:
                self._in_force(newest)
                _log.info("changed_fleet", version=self._version)

    def _newest(self) -> Catalogue:
        catalogue = self.current
        for version, tables in self._book.changes(self._version):
            catalogue = apply_text(catalogue, tables)
            self._version = version
        return catalogue


def tables_of(catalogue: Catalogue) -> dict[str, Any]:
    """The catalogue's rows as the tables of a fleet file."""
    return {
        name: [row.model_dump(mode="json", exclude_unset=True) for row in getattr(catalogue, name).values()]
        for name in TABLES
    }


def _catalogue(tables: dict[str, Any], profile_dirs: tuple[Path, ...]) -> Catalogue:
    profiles = load_profiles(*plugin_profile_dirs(), *profile_dirs)
    empty = Catalogue(customers={}, devices={}, suppliers={}, profiles=profiles, slots={}, parts={})
    try:
        return apply_text(empty, json.dumps(tables, ensure_ascii=False), source="the store's fleet")
    except InputError as error:
        raise InputError(f"the fleet in the store does not fit the profiles here: {error}") from error
