"""Checks that commands make before they read the data directory of a service."""

from __future__ import annotations

from config.settings import Settings
from runtime.data_dir import LOG_FILE, STORE_FILE
from star.errors import InputError, UsageError

EMBEDDED = "embedded"
"""Value of STARLOOP_LOG for a log in the data directory."""


def require_embedded_log(settings: Settings, expected: str) -> None:
    """Raises UsageError if the log is in Kafka. expected: what the user can do instead."""
    if settings.log != EMBEDDED:
        raise UsageError(f"STARLOOP_LOG is {settings.log.partition('://')[0]}: expected {expected}")


def require_data_dir(settings: Settings) -> None:
    """Raises InputError if no service has run on the data directory, which would lack its log or store."""
    folder = settings.data_dir
    has_log = settings.log != EMBEDDED or (folder / LOG_FILE).is_file()
    has_store = settings.store != "sqlite" or (folder / STORE_FILE).is_file()
    if not has_log or not has_store:
        raise InputError(
            f"{folder}: no service has run here: expected its data directory, with {LOG_FILE} and {STORE_FILE}"
        )
