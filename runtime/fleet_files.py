"""The fleet in force: the fleet file as the first start found it, then every change that the input log holds.

A replay of the exported log starts from that first file (DATA/fleet.toml) and meets the same changes in the same places.
An edited fleet file is a change too: at start its rows that differ from the file last seen become a record of the input.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from config.catalogue import Catalogue
from config.fleet_change import change_catalogue_from_json
from config.fleet_file import load_catalogue
from config.fleet_tables import TABLE_MODELS
from runtime.data_dir import FLEET_FILE
from star.errors import InputError
from star.ports import Log
from star.records import FleetChange, decode
from stream.topics import INPUT

LAST_SEEN_FILE = "fleet.seen.toml"
SNAPSHOT_FILE = "fleet.in-force.json"
_READ_BATCH_RECORDS = 1_000
_PROFILES_DIR = "profiles"


def initial_catalogue(folder: Path, fleet_file: Path, profile_dirs: tuple[Path, ...]) -> Catalogue:
    """The catalogue at the start of the log; the first start keeps a copy of the fleet file, and of its profiles, for it.

    Raises ConfigError for a file with mistakes: nothing is copied then.
    """
    given = load_catalogue(fleet_file, *profile_dirs)
    kept = folder / FLEET_FILE
    if not kept.exists():
        beside = fleet_file.parent / _PROFILES_DIR
        if beside.is_dir():
            shutil.copytree(beside, folder / _PROFILES_DIR, dirs_exist_ok=True)
        _copy(fleet_file, kept)
        _copy(fleet_file, folder / LAST_SEEN_FILE)
    return given if kept.read_bytes() == fleet_file.read_bytes() else load_catalogue(kept, *profile_dirs)


def catalogue_at(folder: Path, first: Catalogue, log: Log, end: int) -> Catalogue:
    """The catalogue after the input's records before offset `end`.

    Reads on from what `keep` kept, so that a long log is not read from its beginning at every start.
    """
    catalogue, next_offset = first, 0
    kept = _read_snapshot(folder)
    if kept is not None and kept["offset"] <= end:
        catalogue, next_offset = change_catalogue_from_json(first, json.dumps(kept["tables"])), kept["offset"]
    while next_offset < end:
        rows = log.read(INPUT, next_offset, _READ_BATCH_RECORDS)
        if not rows:
            break
        for offset, wire in rows:
            if offset < end and wire[:1] == b"F":
                change = decode(wire)
                if isinstance(change, FleetChange):
                    catalogue = change_catalogue_from_json(catalogue, change.tables)
            next_offset = offset + 1
    return catalogue


def write_snapshot(folder: Path, catalogue: Catalogue, offset: int) -> None:
    """Keeps what is in force before the input's `offset`, which later starts never need to look behind."""
    tables = {name: [row.model_dump(mode="json") for row in getattr(catalogue, name).values()] for name in TABLE_MODELS}
    part = folder / (SNAPSHOT_FILE + ".new")
    part.write_text(json.dumps({"offset": offset, "tables": tables}, ensure_ascii=False), encoding="utf-8")
    part.replace(folder / SNAPSHOT_FILE)


def _read_snapshot(folder: Path) -> dict[str, Any] | None:
    path = folder / SNAPSHOT_FILE
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found["offset"], int) else None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: can't be read ({error}): remove it, and the log is read from its beginning"
        ) from error


def file_edits(folder: Path, fleet_file: Path, profile_dirs: tuple[Path, ...]) -> dict[str, Any]:
    """Rows of the fleet file that were added or edited since the start that saw it last, as tables of a change."""
    if not (folder / LAST_SEEN_FILE).exists():
        raise InputError(
            f"{folder / LAST_SEEN_FILE}: is missing: expected the copy of the fleet file that {folder / FLEET_FILE} came with"
        )
    if (folder / LAST_SEEN_FILE).read_bytes() == fleet_file.read_bytes():
        return {}
    return changed_rows(
        load_catalogue(folder / LAST_SEEN_FILE, *profile_dirs), load_catalogue(fleet_file, *profile_dirs)
    )


def changed_rows(before: Catalogue, now: Catalogue) -> dict[str, Any]:
    """The rows that were added or are others, as tables of a change."""
    tables: dict[str, Any] = {}
    for table in TABLE_MODELS:
        old = getattr(before, table)
        rows = [
            row.model_dump(mode="json", exclude_unset=True)
            for key, row in getattr(now, table).items()
            if old.get(key) != row
        ]
        if rows:
            tables[table] = rows
    return tables


def record_seen(folder: Path, fleet_file: Path) -> None:
    """The file's edits are in the log: from here on edits are told from this copy."""
    _copy(fleet_file, folder / LAST_SEEN_FILE)


def _copy(source: Path, target: Path) -> None:
    part = target.with_suffix(".new")
    part.write_bytes(source.read_bytes())
    part.replace(target)
