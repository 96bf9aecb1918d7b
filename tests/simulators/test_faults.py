"""Transmission faults, one at a time and combined."""

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
    """The messages of the stream that arrive."""
    return FaultChain(faults).send_all(stream(name=name))


def rng(seed: int = 1) -> np.random.Generator:
    """Random numbers for a fault."""
    return np.random.default_rng(seed)


def values(messages: list[DeviceMessage], name: str = "oil") -> list[float]:
    """The values that arrived."""
    return [message.payload["values"][name] for message in messages]


def test_without_faults_everything_arrives_as_it_is() -> None:
    """An empty chain changes nothing."""
    assert through() == stream()


def test_a_share_of_messages_is_lost() -> None:
    """The others are unchanged."""
    arrived = through(MessageLoss(rng(), 0.2))
    assert 1500 < len(arrived) < 1700
    assert set(values(arrived)) <= set(values(stream()))


def test_a_share_of_messages_is_duplicated() -> None:
    """The copy has an arrival time of its own."""
    counted = Counter(values(through(Duplicate(rng(), 0.1))))
    assert len(counted) == 2000
    assert 120 < sum(1 for count in counted.values() if count == 2) < 280


def test_late_messages_arrive_in_order_of_arrival_not_of_sending() -> None:
    """For delays and for messages held back."""
    for fault in (Delay(rng(), 3 * HOUR_MS), Reorder(rng(), 0.3)):
        arrived = through(fault)
        assert [m.arrive_ms for m in arrived] == sorted(m.arrive_ms for m in arrived)
        assert [m.sent_ms for m in arrived] != sorted(m.sent_ms for m in arrived)
        assert len(arrived) == 2000


def test_offline_measurements_arrive_when_the_device_is_back() -> None:
    """All of them, with their old times; without backfill they are lost."""
    arrived = through(Offline(rng(), 30.0))
    late = [m for m in arrived if m.arrive_ms > m.sent_ms]
    assert len(arrived) == 2000
    assert len(late) > 50
    assert max(m.arrive_ms - m.sent_ms for m in late) > DAY_MS
    assert len(through(Offline(rng(), 30.0, backfill=False))) == 2000 - len(late)


def test_a_stuck_sensor_repeats_a_value_for_an_episode() -> None:
    """Then it reports the truth again."""
    reported = values(through(Stuck(rng(), 12.0)))
    wrong = [n for n, value in enumerate(reported) if value != n]
    assert 50 < len(wrong) < 1500
    assert all(reported[n] <= n for n in wrong)


def test_a_drifting_sensor_is_off_in_proportion_to_time() -> None:
    """A hundredth of the span per day; the temperature is unchanged."""
    arrived = through(Drift(100.0, 0.01))
    assert values(arrived)[24] == 24.0 + 1.0
    assert set(values(arrived, "temperature")) == {5.0}


def test_spikes_are_rare_and_far_from_the_truth() -> None:
    """Zero, the top of the scale, or a random value."""
    reported = values(through(Spikes(rng(), 0.02, 10_000.0)))
    wrong = sum(value != n for n, value in enumerate(reported))
    assert 15 < wrong < 80


def test_a_skewed_clock_reports_wrong_times_and_drifts() -> None:
    """An hour off at first, and a second per day more; arrival times are unchanged."""
    arrived = through(ClockSkew(HOUR_MS, 1000.0))
    assert arrived[0].payload["at"] == epoch_seconds(START_MS + HOUR_MS)
    assert arrived[240].payload["at"] == epoch_seconds(START_MS + 241 * HOUR_MS + 10_000)
    assert arrived[240].arrive_ms == START_MS + 240 * HOUR_MS


def test_a_counter_reset_starts_at_zero_with_a_new_boot_and_loses_nothing() -> None:
    """The sum of the increments, with resets counted from zero, is the true total."""
    arrived = through(CounterResets(rng(), 40.0), name="beans_total")
    totals = values(arrived, "beans_total")
    boots = [m.payload["boot"] for m in arrived]
    assert boots[-1] > 4
    assert boots == sorted(boots)
    pairs = {(m.payload["boot"], m.payload["seq"]) for m in arrived}
    assert len(pairs) == 2000
    before = [0.0, *totals[:-1]]
    assert sum(now - was if now >= was else now for was, now in zip(before, totals, strict=True)) == 1999.0


def test_combined_faults_are_reproducible_from_their_seeds() -> None:
    """Byte for byte, however often arrived messages are polled."""

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
