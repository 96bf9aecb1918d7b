"""Database errors as one line that a person can act on: where, what, and the remedy. Passwords are removed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from star.errors import StoreDamaged, StoreError

MESSAGE_LENGTH_MAX = 400
"""Most characters of the database's own message that are shown."""
SECRETS = ("password", "passwd", "sslpassword")
"""Query options of a URL that are never shown."""
RESTORE = "stop the service and restore it from a backup, together with the log of the same moment"
_DAMAGED = re.compile(r"malformed|not a database|invalid page in block|could not read block", re.IGNORECASE)
_DAMAGED_STATES = frozenset({"XX001", "XX002"})


@dataclass(frozen=True, slots=True)
class _Cause:
    """A cause with its remedy, recognized by SQLSTATE or, where a failed connection has none, by the message's text."""

    sqlstates: frozenset[str]
    pattern: str
    remedy: str


def _cause(sqlstates: str, pattern: str, remedy: str) -> _Cause:
    return _Cause(frozenset(sqlstates.split()), pattern, remedy)


_CAUSES = (
    _cause(
        "",
        r"Connection refused|timeout expired|failed to resolve|could not translate host|No route to host"
        r"|Network is unreachable|is the server running",
        "start the server, or correct host and port in STARLOOP_STORE",
    ),
    _cause(
        "28P01 28000",
        r"password authentication failed|no password supplied|role \".*\" does not exist",
        "correct user and password in STARLOOP_STORE, or the password file that PGPASSFILE names",
    ),
    _cause("", r"pg_hba\.conf", "let this machine and user in, in the server's pg_hba.conf"),
    _cause("3D000", r"database \".*\" does not exist", "make the database: CREATE DATABASE {database} OWNER {user}"),
    _cause(
        "57P01 57P02 57P03 08006 08003 08000",
        r"starting up|shutting down|in recovery mode|terminating connection|server closed the connection"
        r"|connection (is|was) (closed|lost)|consuming input failed|SSL SYSCALL",
        "see that the server runs; the next call connects again",
    ),
    _cause(
        "53300", r"too many clients|remaining connection slots|QueuePool limit", "allow the server more connections"
    ),
    _cause(
        "42501",
        r"permission denied",
        "grant the user USAGE and CREATE on the schema and all rights on Starloop's tables, or make it the database's owner",
    ),
    _cause("53100", r"No space left|disk is full|could not extend file", "make room on the disk of the database"),
    _cause(
        "25006", r"readonly|read-only", "name the server that takes writes, not its copy, or make the file writable"
    ),
    _cause(
        "55P03 40P01 40001 57014",
        r"database is locked|lock timeout|deadlock",
        "another process holds what is wanted: try again, and see which one if it lasts",
    ),
)


def redacted_url(url: URL) -> str:
    """The URL without passwords, wherever they stand in it."""
    return url.difference_update_query(SECRETS).render_as_string(hide_password=True)


def redact_unparsed(text: str) -> str:
    """A text that is no URL, without what may be a password in it."""
    account, at, place = text.rpartition("@")
    scheme, slashes, _ = account.partition("//")
    start = f"{scheme}{slashes}***@" if slashes else "***@"
    return re.sub(r"(password=)[^&]*", r"\1***", (start if at else "") + place)


def translate_error(url: URL, error: SQLAlchemyError, action: str = "") -> StoreError:
    """The store's error for one of the driver's: StoreDamaged for damage only. action: what failed, such as "can't be opened"."""
    original = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(original, "sqlstate", None)
    message = one_line(original)
    if url.password:
        message = message.replace(str(url.password), "***")
    start = f"{redacted_url(url)}: {action}: " if action else f"{redacted_url(url)}: "
    if state in _DAMAGED_STATES or _DAMAGED.search(message):
        return StoreDamaged(f"{redacted_url(url)}: damaged ({message}): {RESTORE}")
    for cause in _CAUSES:
        if state in cause.sqlstates or (state is None and re.search(cause.pattern, message, re.IGNORECASE)):
            return StoreError(f"{start}{message}: {cause.remedy.format(database=url.database, user=url.username)}")
    return StoreError(f"{start}{message}")


def one_line(error: object) -> str:
    """The message of an error on one line, at most MESSAGE_LENGTH_MAX characters."""
    message = " ".join(str(error).split())
    return message if len(message) <= MESSAGE_LENGTH_MAX else message[: MESSAGE_LENGTH_MAX - 1] + "…"
