"""The fleet in force beside an embedded log: the fleet file of the first start, then every change in the input log.

A replay of the exported log starts from the same file (DATA/fleet.toml) and meets the same changes at the same offsets.
An edited fleet file is a change as well: at start, the rows that differ from the file last seen become a record of the input.
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
from runtime.atomic_file import write_atomically
from runtime.data_dir import FLEET_FILE, LAST_SEEN_FILE, SNAPSHOT_FILE
from star.errors import InputError, check_format
from star.ports import Log
from star.records import FleetChange, decode
from stream.topics import INPUT

FORMAT = 1
"""Format number of the snapshot. A file without the field `format` is of format 1."""
_READ_BATCH_RECORDS = 1_000
_PROFILES_DIR = "profiles"


def initial_catalogue(folder: Path, fleet_file: Path, profile_dirs: tuple[Path, ...]) -> Catalogue:
    """The catalogue at the start of the log. The first start copies the fleet file and its profiles into the data directory.

    Raises ConfigError for a file with mistakes; nothing is copied then.
    """
    given = load_catalogue(fleet_file, *profile_dirs)
    copy = folder / FLEET_FILE
    if not copy.exists():
        profiles = fleet_file.parent / _PROFILES_DIR
        if profiles.is_dir():
            shutil.copytree(profiles, folder / _PROFILES_DIR, dirs_exist_ok=True)
        write_atomically(copy, fleet_file.read_bytes())
        record_seen(folder, fleet_file)
    return given if copy.read_bytes() == fleet_file.read_bytes() else load_catalogue(copy, *profile_dirs)


def catalogue_at(folder: Path, first: Catalogue, log: Log, end: int) -> Catalogue:
    """The catalogue after the input's records before offset `end`, read on from the snapshot where there is one.

    Raises InputError for a snapshot that can't be read, NewerFormat for one of a newer Starloop.
    """
    catalogue, next_offset = first, 0
    snapshot = _read_snapshot(folder)
    if snapshot is not None and snapshot["offset"] <= end:
        catalogue = change_catalogue_from_json(first, json.dumps(snapshot["tables"]))
        next_offset = snapshot["offset"]
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
    """Writes the fleet in force before the input's `offset`, from which the next start reads on."""
    tables = {name: [row.model_dump(mode="json") for row in getattr(catalogue, name).values()] for name in TABLE_MODELS}
    body = {"format": FORMAT, "offset": offset, "tables": tables}
    write_atomically(folder / SNAPSHOT_FILE, json.dumps(body, ensure_ascii=False).encode())


def _read_snapshot(folder: Path) -> dict[str, Any] | None:
    path = folder / SNAPSHOT_FILE
    if not path.exists():
        return None
    try:
        snapshot: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        check_format(str(path), int(snapshot.get("format", 1)), FORMAT)
        return snapshot if isinstance(snapshot["offset"], int) else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: can't be read ({error}): delete it, and the next start reads the log from its beginning"
        ) from error


def file_edits(folder: Path, fleet_file: Path, profile_dirs: tuple[Path, ...]) -> dict[str, Any]:
    """Rows of the fleet file that were added or edited since the start that read it last, as tables of a change."""
    seen = folder / LAST_SEEN_FILE
    if not seen.exists():
        raise InputError(
            f"{seen}: is missing: expected the copy of the fleet file made together with {folder / FLEET_FILE}"
        )
    if seen.read_bytes() == fleet_file.read_bytes():
        return {}
    return changed_rows(load_catalogue(seen, *profile_dirs), load_catalogue(fleet_file, *profile_dirs))


def changed_rows(before: Catalogue, now: Catalogue) -> dict[str, Any]:
    """The rows that were added or differ, as tables of a change."""
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
    """Copies the fleet file, all of whose edits are in the log now, for the next comparison."""
    write_atomically(folder / LAST_SEEN_FILE, fleet_file.read_bytes())
