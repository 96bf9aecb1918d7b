"""One tree of errors. Each names the thing, the value and what was expected.

StarloopError
├── InputError            the user's or a device's mistake; shown as one line, never with a stack trace
│   ├── BadPayload        a payload that can't be read or represented: it goes to quarantine
│   ├── ProtocolError     bytes on a connection that are not MQTT, or not allowed there; carries MQTT 5's reason code
│   ├── MalformedId       a text that is not the id it is taken for
│   ├── ConfigError       a fleet file, profile or setting with mistakes; carries every problem found
│   └── UsageError        a command used wrongly (exit 2)
├── NewerFormat           a file or table that a newer Starloop wrote: this one would misread it
├── IllegalTransition     a life cycle asked to make a move that its table does not list: a bug, or a damaged store
├── LogError              the log can't take or give records
│   ├── DiskFull          the log's disk has no room: nothing is acknowledged until it has
│   └── LogDamaged        the log's file is not readable
├── StoreError            the store can't be used
│   ├── StoreDamaged      its file is not readable
│   ├── StoreFenced       another process has taken the partition over: nothing was written
│   └── StoreAhead        it has consumed more than the log holds (a restored backup of one of the two)
├── ModelError            a model file is missing, damaged or not what its card says
└── Unavailable           something outside can't be reached now; worth another try
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class StarloopError(Exception):
    """Base of every error that Starloop raises on purpose."""


class InputError(StarloopError):
    """A mistake in what was given to us."""


class NewerFormat(StarloopError):
    """Data of a newer Starloop, which this one does not know how to read. Nothing was read or changed."""


def check_format(what: str, found: int, known: int) -> None:
    """Refuses data whose format number is higher than the highest `known` here. Raises NewerFormat.

    what: the file, table or record, as the message names it.
    """
    if found > known:
        raise NewerFormat(
            f"{what} is of format {found}, written by a newer Starloop: this one reads formats up to {known}."
            " Run that version or a later one"
        )


class BadPayload(InputError):
    """A payload that can't be read or represented; `str(error)` is the reason kept in quarantine."""


class MalformedId(InputError):
    """A text that does not have the form of the id it is taken for."""


class ProtocolError(InputError):
    """A client broke the rules of MQTT: the connection ends. code: the reason code of MQTT 5, 0x80 to 0xFF."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file: where it is, what was found, what was expected."""

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class ConfigError(InputError):
    """A configuration file with one or more problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(InputError):
    """A command or call used wrongly."""


class IllegalTransition(StarloopError):
    """A move that the life cycle's table does not list."""


class LogError(StarloopError):
    """The log can't take or give records."""


class DiskFull(LogError):
    """There is no room on the log's disk."""


class LogDamaged(LogError):
    """The log's file is not readable."""


class StoreError(StarloopError):
    """The store can't be used."""


class StoreDamaged(StoreError):
    """The store's file is not readable."""


class StoreAhead(StoreError):
    """The store has consumed more of the log than the log holds."""


class StoreFenced(StoreError):
    """Another process has consumed these partitions since this one last did; what this one decided was not written.

    Forget what is remembered of them; who still has to consume them loads them again.
    """

    def __init__(self, message: str, *, partitions: frozenset[int]) -> None:
        self.partitions = partitions
        super().__init__(message)


class ModelError(StarloopError):
    """A model is missing, damaged, or not what its card says."""


class Unavailable(StarloopError):
    """Something outside can't be reached now; worth another try, and not before `retry_after_s` where it said so."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)
