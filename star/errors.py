"""The errors of Starloop, one tree. A message names the thing, the value and what was expected.

StarloopError
├── InputError            a mistake of a user or a device; shown as one line, never with a stack trace
│   ├── BadPayload        a payload that can't be decoded: it goes to quarantine
│   ├── ProtocolError     bytes on a connection that are not MQTT, or not allowed there; carries MQTT 5's reason code
│   ├── MalformedId       a text that is not the id it is taken for
│   ├── ConfigError       a fleet file, profile, setting or plug-in with mistakes; carries every problem
│   └── UsageError        a command used wrongly (exit 2)
├── NewerFormat           a file or table of a newer Starloop, which this one would misread
├── IllegalTransition     a transition that the table of a life cycle does not list: a bug, or a damaged store
├── LogError              the log can't be written or read
│   ├── DiskFull          the log's disk is full: nothing is acknowledged until there is space
│   └── LogDamaged        the log's file is not readable
├── StoreError            the store can't be used
│   ├── StoreDamaged      its file is not readable
│   ├── StoreFenced       another process has taken over the partition: nothing was written
│   └── StoreAhead        it has consumed more records than the log has (one of the two is an older backup)
├── ModelError            a model file is missing, damaged or not what its card says
└── Unavailable           an external service can't be reached now; a retry may succeed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class StarloopError(Exception):
    """Base of every error that Starloop raises."""


class InputError(StarloopError):
    """A mistake in input."""


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
    """A payload that can't be decoded or represented; `str(error)` is the reason in quarantine."""


class MalformedId(InputError):
    """A text that does not have the form of the id it is taken for."""


class ProtocolError(InputError):
    """A violation of MQTT by a client, which ends the connection. code: MQTT 5's reason code, 0x80 to 0xFF."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file. message: what was found and what was expected."""

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"


class ConfigError(InputError):
    """Configuration with one or more problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(InputError):
    """A command or call used wrongly."""


class IllegalTransition(StarloopError):
    """A transition that the life cycle's table does not list."""


class LogError(StarloopError):
    """The log can't be written or read."""


class DiskFull(LogError):
    """The log's disk is full."""


class LogDamaged(LogError):
    """The log's file is not readable."""


class StoreError(StarloopError):
    """The store can't be used."""


class StoreDamaged(StoreError):
    """The store's file is not readable."""


class StoreAhead(StoreError):
    """The store has consumed more records than the log has."""


class StoreFenced(StoreError):
    """Another process has consumed these partitions since this one did. Its own decisions were not written.

    The caller has to discard its state of the partitions; whoever consumes them next loads it from the store.
    """

    def __init__(self, message: str, *, partitions: frozenset[int]) -> None:
        self.partitions = partitions
        super().__init__(message)


class ModelError(StarloopError):
    """A model is missing, damaged, or differs from its card."""


class Unavailable(StarloopError):
    """An external service can't be reached now. retry_after_s: when a retry makes sense, where the service said so."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)
