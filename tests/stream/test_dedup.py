"""The same reading twice counts once; a reading that merely looks like another is not lost."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from star.sense import Readings
from stream.dedup import BOOTS_MAX, LATE_MAX, RANGES_MAX, Deduplicator

METRICS = 3


def kept_in_batches(messages: list[tuple[int, int, int, int, int]], cuts: list[int]) -> tuple[list[bool], Deduplicator]:
    """Which readings (metric, at, arrived, boot, seq) of one device are fresh, taken in batches of the sizes `cuts`."""
    dedup = Deduplicator()
    dedup.add_device("d", 0)
    for metric in range(METRICS):
        dedup.add_metric(f"d/{metric}", 0)
    out: list[bool] = []
    start = turn = 0
    while start < len(messages):
        size = cuts[turn % len(cuts)]
        turn += 1
        rows = [(m, at, arrived, 0.0, boot, seq) for m, at, arrived, boot, seq in messages[start : start + size]]
        readings = Readings.from_rows(rows)
        out += dedup.mask_new(readings, np.zeros(len(rows), dtype=np.intp), readings.metric.astype(np.intp)).tolist()
        start += size
    return out, dedup


def kept_by_rule(messages: list[tuple[int, int, int, int, int]]) -> list[bool]:
    """The rule said plainly, without limits."""
    numbers: set[tuple[int, int]] = set()
    times: set[tuple[int, int]] = set()
    current: tuple[int, ...] | None = None
    names: set[int] = set()
    dropped = False
    out = []
    for metric, at, arrived, boot, seq in messages:
        if boot < 0 or seq < 0:
            out.append((metric, at) not in times)
            times.add((metric, at))
            continue
        if (boot, seq, at, arrived) != current:
            current, names, dropped = (boot, seq, at, arrived), set(), (boot, seq) in numbers
            numbers.add((boot, seq))
        out.append(not dropped and metric not in names)
        names.add(metric)
    return out


READING = st.tuples(
    st.integers(0, METRICS - 1), st.integers(0, 6), st.integers(6, 7), st.integers(-1, 2), st.integers(-1, 8)
)


@settings(max_examples=200, deadline=None)
@given(messages=st.lists(READING, max_size=40), cuts=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_what_is_dropped_is_what_the_rule_says_however_it_was_batched(
    messages: list[tuple[int, int, int, int, int]], cuts: list[int]
) -> None:
    """The vectorised and the slow way give the plain rule's answer, and the same state as one batch."""
    fresh, dedup = kept_in_batches(messages, cuts)
    assert fresh == kept_by_rule(messages)
    whole, at_once = kept_in_batches(messages, [1_000])
    assert whole == fresh
    rows = np.arange(1), np.arange(METRICS)
    assert dedup.snapshot(*rows) == at_once.snapshot(*rows)
    assert (dedup.devices["seen"] == at_once.devices["seen"]).all()
    assert (dedup.metrics["seen"] == at_once.metrics["seen"]).all()


def test_a_message_with_several_values_is_one_message() -> None:
    """Values that share boot and seq are all taken, once; sent again they are all dropped and counted."""
    message = [(0, 5, 5, 1, 1), (1, 5, 5, 1, 1), (2, 5, 5, 1, 1)]
    again = [(metric, at, 9, boot, seq) for metric, at, _, boot, seq in message]
    fresh, dedup = kept_in_batches([*message, *again, (0, 6, 10, 1, 2)], [2])
    assert fresh == [True] * 3 + [False] * 3 + [True]
    assert dedup.dropped() == {"d": 3}


def test_what_a_device_kept_while_offline_is_taken_once_in_any_order() -> None:
    """Thousands of old messages after newer ones, newest first, then all of them again."""
    backlog = [(0, seq, 9_000, 1, seq) for seq in range(2_000, 0, -1)]
    fresh, _ = kept_in_batches([(0, 8_000, 8_000, 1, 3_000), *backlog, *backlog], [512])
    assert fresh == [True] * 2_001 + [False] * 2_000


def test_memory_of_a_device_stays_within_its_limits() -> None:
    """Gaps, boots and late times without end leave no more than the named limits."""
    gaps = [(0, n, n, 7, 2 * n) for n in range(4 * RANGES_MAX)]
    boots = [(0, n, n, 100 + n, 5) for n in range(10 * BOOTS_MAX)]
    late = [(1, at, 10_000, -1, -1) for at in range(3 * LATE_MAX, 0, -1)]
    fresh, dedup = kept_in_batches([*gaps, *boots, *late], [100])
    assert all(fresh)
    extras = dedup.snapshot(np.arange(1), np.arange(METRICS))
    assert len(extras["ranges"]["d"]) <= BOOTS_MAX + 1
    assert len(extras["late"]["d/1"]) == LATE_MAX
