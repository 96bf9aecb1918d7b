"""Declared absence: when customers are away, by slot row, from the catalogue in force; and the use on such days.

Days of absence tell nothing of the use of an ordinary day, and coming ones count a share of it, which is learned for each item.
The spans belong to the fleet: they change with its records and are part of no checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from config.fleet import Customer
from config.time_zones import day_start_ms

Float64 = NDArray[np.float64]
Rows = NDArray[np.intp]

USE_SHARE_PRIOR = 0.1
"""What is used on a day of absence, as a share of an ordinary day, before anything is known of the item."""
USE_SHARE_PRIOR_DAYS = 5.0
"""That share counts as so many days of evidence."""
USE_SHARE_MIN, USE_SHARE_MAX = 0.02, 1.2
USE_SHARE_LOG_SPREAD = 0.5
"""Log-spread of the share from one absence to the next: some come back early, some leave things on."""
SPANS_MAX = 64
"""Of a customer's absences, the latest so many count."""
_LAST_DAY = date.max - timedelta(days=2)
"""An absence that is to last for ever ends here, as the day after it must be one of the calendar."""


class Absences:
    """Who is away when: spans [from, to) in milliseconds, a line a customer with any; by slot row the line, or -1."""

    def __init__(self) -> None:
        self.span_row: Rows = np.empty(0, dtype=np.intp)
        self.spans: Float64 = np.empty((0, 0, 2))

    def set_customers(
        self, customers: Mapping[str, Customer], customer_of_row: Mapping[int, str], capacity: int
    ) -> None:
        """The catalogue's customers. of_row: the customer's name of each slot row in force; places: rows to make room for."""
        names = sorted(name for name in set(customer_of_row.values()) if customers[name].away)
        found = [absence_spans_ms(customers[name])[-SPANS_MAX:] for name in names]
        self.spans = np.zeros((len(names), max(map(len, found), default=0), 2))
        for line, spans in enumerate(found):
            self.spans[line, : len(spans)] = spans
        lines = {name: line for line, name in enumerate(names)}
        self.span_row = np.full(capacity, -1, dtype=np.intp)
        for row, name in customer_of_row.items():
            self.span_row[row] = lines.get(name, -1)

    def absent_share(self, rows: Rows, from_ms: Float64, to_ms: Float64) -> Float64:
        """(m, n) the share of m spans of time, from `from_ms` to `to_ms`, in which the customers of `rows` are away."""
        share = np.zeros((from_ms.size, rows.size))
        at = np.nonzero(self.span_row[rows] >= 0)[0] if self.spans.shape[0] else np.empty(0, dtype=np.intp)
        if at.size == 0:
            return share
        spans = self.spans[self.span_row[rows[at]]]
        away_ms = np.zeros((from_ms.size, at.size))
        for nth in range(spans.shape[1]):
            begins, ends = spans[None, :, nth, 0], spans[None, :, nth, 1]
            if (ends > from_ms[:, None].min()).any() and (begins < to_ms.max()).any():
                within = np.minimum(ends, to_ms[:, None]) - np.maximum(begins, from_ms[:, None])
                away_ms += np.maximum(within, 0.0)
        share[:, at] = np.minimum(away_ms / (to_ms - from_ms)[:, None], 1.0)
        return share

    def away_ms(self, rows: Rows, from_ms: Float64, to_ms: Float64 | float) -> Float64:
        """(n,) for how long the customers of `rows` were away since their `from_ms`, until `to_ms`."""
        out = np.zeros(rows.size)
        at = np.nonzero(self.span_row[rows] >= 0)[0] if self.spans.shape[0] else np.empty(0, dtype=np.intp)
        if at.size:
            spans, until_ms = self.spans[self.span_row[rows[at]]], np.broadcast_to(to_ms, rows.shape)[at]
            for nth in range(spans.shape[1]):
                within = np.minimum(spans[:, nth, 1], until_ms) - np.maximum(spans[:, nth, 0], from_ms[at])
                out[at] += np.maximum(within, 0.0)
        return out

    def any_between(self, rows: Rows, from_ms: float, to_ms: float) -> NDArray[np.bool_]:
        """(n,) whether the customers of `rows` are away at any time between."""
        if self.spans.shape[0] == 0:
            return np.zeros(rows.size, dtype=np.bool_)
        meets: NDArray[np.bool_] = (self.spans[:, :, 0] < to_ms) & (self.spans[:, :, 1] > from_ms)
        line = self.span_row[rows]
        some: NDArray[np.bool_] = np.where(line >= 0, np.asarray(meets.any(axis=1))[line], False)
        return some


def absence_spans_ms(customer: Customer) -> list[tuple[int, int]]:
    """The customer's absences as [from, to) in milliseconds, in order and apart: whole days of the customer's own calendar."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(customer.away):
        start = day_start_ms(date.fromisoformat(first), customer.timezone)
        after = min(date.fromisoformat(last), _LAST_DAY) + timedelta(days=1)
        end = day_start_ms(after, customer.timezone)
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def posterior_use_share(used: Float64, expected: Float64, ordinary: Float64) -> Float64:
    """(n,) the share of an ordinary day's use on days of absence.

    used, expected: of past such days, what was used and what would have been; ordinary: an ordinary day's use.
    """
    prior = USE_SHARE_PRIOR_DAYS * ordinary
    share = (USE_SHARE_PRIOR * prior + used) / np.maximum(prior + expected, 1e-12)
    return np.clip(np.where(ordinary > 0.0, share, USE_SHARE_PRIOR), USE_SHARE_MIN, USE_SHARE_MAX)
