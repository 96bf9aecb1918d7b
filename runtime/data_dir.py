"""The data directory of a running service: which file is what, and how commands find the service that owns it.

log.db         the input log and all that is derived from it
store.db       needs, decisions, reactions, what is to be sent, names
console.db     what the pages show; may be deleted
fleet.toml     the fleet file as the first start found it: what a replay of the exported log starts from
service.json   ports and local token of the process that runs, readable by its user only
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from config.settings import Settings
from star.errors import InputError

LOG_FILE = "log.db"
STORE_FILE = "store.db"
CONSOLE_FILE = "console.db"
FLEET_FILE = "fleet.toml"
SERVICE_FILE = "service.json"


def create_data_dir(folder: Path) -> Path:
    """The folder, made where it is missing, for its user only. Raises InputError where that can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}: expected a data directory that can be written") from error
    return folder


def instance_name(settings: Settings) -> str:
    """What tells processes of one role apart: as set, else the host's name."""
    return settings.instance or os.environ.get("HOSTNAME") or socket.gethostname()


def store_url(settings: Settings) -> str:
    """The store's database: in the data directory unless the settings name another."""
    return f"sqlite:///{settings.data_dir / STORE_FILE}" if settings.store == "sqlite" else settings.store


def write_service_file(folder: Path, fields: dict[str, Any]) -> None:
    """Writes service.json, whole or not at all, readable by its user only."""
    temporary = folder / (SERVICE_FILE + ".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(fields, file)
    temporary.replace(folder / SERVICE_FILE)


def remove_service_file(folder: Path) -> None:
    """Removes service.json: nobody runs here any more."""
    (folder / SERVICE_FILE).unlink(missing_ok=True)
