"""Limits of delivery: attempts, ages, back-off, deliveries in flight, and a circuit breaker for each target."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from config.settings import Settings
from reactor.store.rows import OutboxRow
from star.times import DAY_MS

BACKOFF_JITTER = 0.2
"""Share by which a wait is made longer or shorter, so that rows that failed together do not all return together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLimits:
    """Limits of the dispatcher.

    attempts_max: attempts of one row. age_max_ms, contact_age_max_ms: age of a reaction from which it is not sent any more;
    contacts become worthless sooner than orders. backoff_first_s, backoff_max_s: waits between attempts double from the
    first to the second. in_flight_max, in_flight_per_target_max: deliveries at once. due_rows_max: rows of one query.
    circuit_failures: failures in a row after which a target is left alone for circuit_open_s. poll_s: interval of queries
    when nothing wakes the dispatcher, and of retries while the store is away.
    """

    attempts_max: int = 20
    age_max_ms: int = 3 * DAY_MS
    contact_age_max_ms: int = DAY_MS
    backoff_first_s: float = 5.0
    backoff_max_s: float = 6 * 3600.0
    in_flight_max: int = 32
    in_flight_per_target_max: int = 8
    due_rows_max: int = 1_000
    circuit_failures: int = 3
    circuit_open_s: float = 10.0
    poll_s: float = 1.0

    @classmethod
    def from_settings(cls, settings: Settings) -> DeliveryLimits:
        """The limits of this installation."""
        return cls(
            attempts_max=settings.send_attempts_max,
            backoff_first_s=settings.send_backoff_s,
            backoff_max_s=settings.send_backoff_max_s,
        )


def backoff_s(row: OutboxRow, tries: int, limits: DeliveryLimits) -> float:
    """Wait in seconds after `tries` failures: doubling, with a jitter derived from the row's names, equal on every run."""
    wait_s = min(limits.backoff_first_s * 2.0 ** (tries - 1), limits.backoff_max_s)
    digest = hashlib.sha256(f"{row.reaction.id}>{row.target}>{tries}".encode()).digest()
    return wait_s * (1.0 - BACKOFF_JITTER + 2.0 * BACKOFF_JITTER * int.from_bytes(digest[:4], "big") / 2**32)


@dataclass(slots=True)
class _Circuit:
    """Failures in a row of one target, and until when nothing is sent to it."""

    failures: int = 0
    open_until_ms: int = 0
    error: str = ""


class CircuitBreakers:
    """One circuit breaker for each target: after some failures in a row its other rows are postponed without an attempt."""

    def __init__(self, limits: DeliveryLimits) -> None:
        self._limits = limits
        self._circuits: dict[str, _Circuit] = {}

    def error_while_open(self, target: str, now_ms: int) -> str | None:
        """The last error of a target to which nothing is sent now; None: it may be tried."""
        circuit = self._circuits.get(target)
        return circuit.error if circuit is not None and circuit.open_until_ms > now_ms else None

    def record_failure(self, target: str, error: str, now_ms: int) -> None:
        """Counts a failure that a retry may mend."""
        circuit = self._circuits.setdefault(target, _Circuit())
        circuit.failures += 1
        circuit.error = error
        if circuit.failures >= self._limits.circuit_failures:
            circuit.open_until_ms = now_ms + round(self._limits.circuit_open_s * 1000)

    def record_success(self, target: str) -> None:
        """Closes the target's circuit."""
        self._circuits.pop(target, None)
