"""The fleet in force: the fleet file as the first start found it, then every change that the input log holds.

A replay of the exported log starts from that first file (DATA/fleet.toml) and meets the same changes in the same places.
An edited fleet file is a change too: at start its rows that differ from the file last seen become a record of the input.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from config.change import apply_text
from config.fleet_file import load_catalogue
from config.resolve import Catalogue
from config.tables import TABLES
from star.errors import InputError
from star.ports import Log
from star.records import FleetChange, decode
from starloop.data_dir import FLEET
from stream.topics import INPUT

_SEEN = "fleet.seen.toml"
_IN_FORCE = "fleet.in-force.json"
_READ_RECORDS = 1_000
_PROFILES = "profiles"


def first_catalogue(folder: Path, fleet_file: Path, profile_dirs: tuple[Path, ...]) -> Catalogue:
    """The catalogue at the start of the log; the first start keeps a copy of the fleet file, and of its profiles, for it.

    Raises ConfigError for a file with mistakes: nothing is copied then.
    """
    given = load_catalogue(fleet_file, *profile_dirs)
    kept = folder / FLEET
    if not kept.exists():
        beside = fleet_file.parent / _PROFILES
        if beside.is_dir():
            shutil.copytree(beside, folder / _PROFILES, dirs_exist_ok=True)
        _copy(fleet_file, kept)
        _copy(fleet_file, folder / _SEEN)
    return given if kept.read_bytes() == fleet_file.read_bytes() else load_catalogue(kept, *profile_dirs)


def catalogue_at(folder: Path, first: Catalogue, log: Log, end: int) -> Catalogue:
    """The catalogue after the input's records before offset `end`.

    Reads on from what `keep` kept, so that a long log is not read from its beginning at every start.
    """
    catalogue, next_offset = first, 0
    kept = _kept(folder)
    if kept is not None and kept["offset"] <= end:
        catalogue, next_offset = apply_text(first, json.dumps(kept["tables"])), kept["offset"]
    while next_offset < end:
        rows = log.read(INPUT, next_offset, _READ_RECORDS)
        if not rows:
            break
        for offset, wire in rows:
            if offset < end and wire[:1] == b"F":
                change = decode(wire)
                if isinstance(change, FleetChange):
                    catalogue = apply_text(catalogue, change.tables)
            next_offset = offset + 1
    return catalogue


def keep(folder: Path, catalogue: Catalogue, offset: int) -> None:
    """Keeps what is in force before the input's `offset`, which later starts never need to look behind."""
    tables = {name: [row.model_dump(mode="json") for row in getattr(catalogue, name).values()] for name in TABLES}
    part = folder / (_IN_FORCE + ".new")
    part.write_text(json.dumps({"offset": offset, "tables": tables}, ensure_ascii=False), encoding="utf-8")
    part.replace(folder / _IN_FORCE)


def _kept(folder: Path) -> dict[str, Any] | None:
    path = folder / _IN_FORCE
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found["offset"], int) else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: can't be read ({error}): remove it, and the log is read from its beginning"
        ) from error


def edits(folder: Path, fleet_file: Path, profile_dirs: tuple[Path, ...]) -> dict[str, Any]:
    """Rows of the fleet file that were added or edited since the start that saw it last, as tables of a change."""
    if not (folder / _SEEN).exists():
        raise InputError(
            f"{folder / _SEEN}: is missing: expected the copy of the fleet file that {folder / FLEET} came with"
        )
    if (folder / _SEEN).read_bytes() == fleet_file.read_bytes():
        return {}
    return changed_rows(load_catalogue(folder / _SEEN, *profile_dirs), load_catalogue(fleet_file, *profile_dirs))


def changed_rows(before: Catalogue, now: Catalogue) -> dict[str, Any]:
    """The rows that were added or are others, as tables of a change."""
    tables: dict[str, Any] = {}
    for table in TABLES:
        old = getattr(before, table)
        rows = [
            row.model_dump(mode="json", exclude_unset=True)
            for key, row in getattr(now, table).items()
            if old.get(key) != row
        ]
        if rows:
            tables[table] = rows
    return tables


def seen(folder: Path, fleet_file: Path) -> None:
    """The file's edits are in the log: from here on edits are told from this copy."""
    _copy(fleet_file, folder / _SEEN)


def _copy(source: Path, target: Path) -> None:
    part = target.with_suffix(".new")
    part.write_bytes(source.read_bytes())
    part.replace(target)
