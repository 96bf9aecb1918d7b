"""The data directory of a service: its files, their formats, and the few functions that every user of it needs.

DATA_FILES is the list: what each file holds, its format number and the module that refuses a newer one. `starloop doctor`
compares a directory with it, and tests compare it with the directories that earlier builds left (tests/golden/data).
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.settings import Settings
from runtime.atomic_file import write_atomically
from star.errors import InputError

LOG_FILE = "log.db"
STORE_FILE = "store.db"
CONSOLE_FILE = "console.db"
FLEET_FILE = "fleet.toml"
LAST_SEEN_FILE = "fleet.seen.toml"
SNAPSHOT_FILE = "fleet.in-force.json"
SERVICE_FILE = "service.json"

_USER_VERSION = "PRAGMA user_version"
_MIGRATION = "SELECT version_num FROM alembic_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file of a data directory.

    format: the highest format number that this build reads; None where the file has none, because it is text for people, a
    secret or a lock. query: the SQL statement that gives the number; empty: the field
    `format` of a JSON object, 1 where it is missing. checked_by: the module that refuses a newer format when it opens the file.
    derived: it can be deleted while no service runs, and is built again.
    """

    name: str
    contents: str
    format: int | None = None
    query: str = ""
    checked_by: str = ""
    derived: bool = False


DATA_FILES = (
    DataFile(
        name=LOG_FILE,
        contents="the input log and every topic derived from it; checkpoints of the analysis, which carry a format of their own",
        format=1,
        query=_USER_VERSION,
        checked_by="stream.transports.embedded_log.log_file",
    ),
    DataFile(
        name=STORE_FILE,
        contents="needs, decisions, reactions, the outbox, metric numbers, the fleet's changes",
        format=2,
        query=_MIGRATION,
        checked_by="reactor.store.database",
    ),
    DataFile(
        name=CONSOLE_FILE,
        contents="the console's read model; one of an older format is built again from the log",
        format=2,
        query=_USER_VERSION,
        checked_by="console.read_model",
        derived=True,
    ),
    DataFile(
        name=SNAPSHOT_FILE,
        contents="the fleet in force at an offset of the log, so that a start need not read the log from its beginning",
        format=1,
        checked_by="runtime.fleet_files",
        derived=True,
    ),
    DataFile(
        name=FLEET_FILE, contents="the fleet file of the first start: a replay of the exported log starts from it"
    ),
    DataFile(name=LAST_SEEN_FILE, contents="the fleet file of the latest start, to find the edits made since"),
    DataFile(name="profiles", contents="the folder of profiles that lay beside the fleet file at the first start"),
    DataFile(
        name="gate.db",
        contents="sessions, subscriptions, waiting and retained messages of the MQTT broker",
        format=1,
        query=_USER_VERSION,
        checked_by="edge.mqtt_broker.session_store",
    ),
    DataFile(
        name="sessions.db",
        contents="sign-in links and sessions of the console",
        format=1,
        query=_USER_VERSION,
        checked_by="console.access.sessions",
    ),
    DataFile(name="users.toml", contents="accounts of the console, written by its operator"),
    DataFile(name="console.secret", contents="the key that signs the console's cookies and links"),
    DataFile(name="service.token", contents="the token by which commands on this machine call the HTTP API"),
    DataFile(name="webhook-secret", contents="the key that signs webhooks"),
    DataFile(
        name=SERVICE_FILE, contents="ports and token of the running service, readable by its user only", derived=True
    ),
    DataFile(
        name="owner.lock", contents="the lock of the process that owns the directory, with its number", derived=True
    ),
)
"""Every file that a service may leave in its data directory. SQLite adds `-wal` and `-shm` beside each .db file."""


def newer_files(folder: Path) -> Iterator[tuple[DataFile, int]]:
    """The files of the directory whose format this build does not know, with the format found. It opens them for reading only."""
    for file in DATA_FILES:
        found = None if file.format is None else found_format(folder / file.name, file)
        if found is not None and file.format is not None and found > file.format:
            yield file, found


def found_format(path: Path, file: DataFile) -> int | None:
    """The format number of a file that lies at `path`; None where it is missing or unreadable, which its reader reports."""
    if not path.is_file():
        return None
    try:
        if not file.query:
            return int(json.loads(path.read_text(encoding="utf-8")).get("format", 1))
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute(file.query).fetchone()[0])
    except (OSError, ValueError, TypeError, AttributeError, sqlite3.Error):
        return None


def create_data_dir(folder: Path) -> Path:
    """The folder, created with access for its user only where it is missing. Raises InputError where it can't be created."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}: expected a data directory that can be written") from error
    return folder


def instance_name(settings: Settings) -> str:
    """The name that tells processes of one role apart: the setting, else the host's name."""
    return settings.instance or os.environ.get("HOSTNAME") or socket.gethostname()


def store_url(settings: Settings) -> str:
    """The store's database URL: the file in the data directory unless the settings name another database."""
    return f"sqlite:///{settings.data_dir / STORE_FILE}" if settings.store == "sqlite" else settings.store


def write_service_file(folder: Path, fields: dict[str, Any]) -> None:
    """Writes service.json atomically, readable by its user only."""
    write_atomically(folder / SERVICE_FILE, json.dumps(fields).encode(), mode=0o600)


def remove_service_file(folder: Path) -> None:
    """Removes service.json, as the service stops."""
    (folder / SERVICE_FILE).unlink(missing_ok=True)
