"""Faults on the way from a device, one at a time and together."""

from __future__ import annotations

from collections import Counter

import numpy as np

from simulators.faults import (
    ClockSkew,
    CounterResets,
    Delay,
    DeviceMessage,
    Drift,
    Duplicate,
    Fault,
    FaultChain,
    MessageLoss,
    Offline,
    Reorder,
    Spikes,
    Stuck,
)
from star.times import DAY_MS, HOUR_MS, epoch_seconds

START_MS = 1_767_225_600_000


def stream(count: int = 2000, name: str = "oil") -> list[DeviceMessage]:
    """A message an hour, values rising by one."""
    out = []
    for n in range(count):
        at_ms = START_MS + n * HOUR_MS
        payload = {"at": epoch_seconds(at_ms), "seq": n, "boot": 3, "values": {name: float(n), "temperature": 5.0}}
        out.append(DeviceMessage(sent_ms=at_ms, arrive_ms=at_ms, topic="starloop/v1/tank/telemetry", payload=payload))
    return out


def through(*faults: Fault, name: str = "oil") -> list[DeviceMessage]:
    """What arrives of the stream."""
    return FaultChain(faults).send_all(stream(name=name))


def rng(seed: int = 1) -> np.random.Generator:
    """A fault's own."""
    return np.random.default_rng(seed)


def values(messages: list[DeviceMessage], name: str = "oil") -> list[float]:
    """The values that arrived."""
    return [message.payload["values"][name] for message in messages]


def test_without_faults_everything_arrives_as_it_is() -> None:
    """The empty chain."""
    assert through() == stream()


def test_a_share_of_messages_is_lost() -> None:
    """And only that."""
    arrived = through(MessageLoss(rng(), 0.2))
    assert 1500 < len(arrived) < 1700
    assert set(values(arrived)) <= set(values(stream()))


def test_a_share_of_messages_comes_twice_and_the_same() -> None:
    """The later one is a copy with its own arrival."""
    counted = Counter(values(through(Duplicate(rng(), 0.1))))
    assert len(counted) == 2000
    assert 120 < sum(1 for count in counted.values() if count == 2) < 280


def test_late_messages_arrive_in_order_of_arrival_not_of_sending() -> None:
    """Delays and held-back messages."""
    for fault in (Delay(rng(), 3 * HOUR_MS), Reorder(rng(), 0.3)):
        arrived = through(fault)
        assert [m.arrive_ms for m in arrived] == sorted(m.arrive_ms for m in arrived)
        assert [m.sent_ms for m in arrived] != sorted(m.sent_ms for m in arrived)
        assert len(arrived) == 2000


def test_what_was_measured_offline_arrives_when_the_device_is_back() -> None:
    """With its old times, all of it; without backfill it is lost."""
    arrived = through(Offline(rng(), 30.0))
    late = [m for m in arrived if m.arrive_ms > m.sent_ms]
    assert len(arrived) == 2000
    assert len(late) > 50
    assert max(m.arrive_ms - m.sent_ms for m in late) > DAY_MS
    assert len(through(Offline(rng(), 30.0, backfill=False))) == 2000 - len(late)


def test_a_stuck_sensor_says_the_same_for_a_spell() -> None:
    """And then the truth again."""
    said = values(through(Stuck(rng(), 12.0)))
    wrong = [n for n, value in enumerate(said) if value != n]
    assert 50 < len(wrong) < 1500
    assert all(said[n] <= n for n in wrong)


def test_a_drifting_sensor_is_off_in_proportion_to_time() -> None:
    """A hundredth of the span a day; the temperature is left alone."""
    arrived = through(Drift(100.0, 0.01))
    assert values(arrived)[24] == 24.0 + 1.0
    assert set(values(arrived, "temperature")) == {5.0}


def test_spikes_are_rare_and_far_from_the_truth() -> None:
    """Zero, the top, or anything."""
    said = values(through(Spikes(rng(), 0.02, 10_000.0)))
    wrong = sum(value != n for n, value in enumerate(said))
    assert 15 < wrong < 80


def test_a_skewed_clock_measures_at_wrong_times_and_runs_off() -> None:
    """An hour off at first, a second a day more."""
    arrived = through(ClockSkew(HOUR_MS, 1000.0))
    assert arrived[0].payload["at"] == epoch_seconds(START_MS + HOUR_MS)
    assert arrived[240].payload["at"] == epoch_seconds(START_MS + 241 * HOUR_MS + 10_000)
    assert arrived[240].arrive_ms == START_MS + 240 * HOUR_MS


def test_a_counter_that_resets_begins_at_zero_with_a_new_boot_and_loses_nothing() -> None:
    """The sum of the rises, resets counted as from zero, is the true total."""
    arrived = through(CounterResets(rng(), 40.0), name="beans_total")
    totals = values(arrived, "beans_total")
    boots = [m.payload["boot"] for m in arrived]
    assert boots[-1] > 4
    assert boots == sorted(boots)
    pairs = {(m.payload["boot"], m.payload["seq"]) for m in arrived}
    assert len(pairs) == 2000
    before = [0.0, *totals[:-1]]
    assert sum(now - was if now >= was else now for was, now in zip(before, totals, strict=True)) == 1999.0


def test_faults_together_give_the_same_from_the_same_seed() -> None:
    """Byte for byte, whenever what arrived is asked for."""

    def chain() -> FaultChain:
        return FaultChain(
            [Stuck(rng(1), 5.0), Spikes(rng(2), 0.01, 99.0), Duplicate(rng(3), 0.1), Offline(rng(4), 20.0)]
        )

    whole = chain().send_all(stream())
    pieces, one = [], chain()
    for message in stream():
        one.send(message)
        pieces += one.pop_arrived(message.sent_ms)
    pieces += one.pop_arrived(2**62)
    assert pieces == whole
