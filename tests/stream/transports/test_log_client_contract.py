"""The contract of LogClient on both logs: the embedded one, and a real Apache Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from star.errors import LogError
from stream.transports.log_client import Entry, PartitionRef
from tests.stream.transports.rigs import LogRig, embedded_rig, entries, fetch, kafka_rig, values


@pytest.fixture(params=["embedded", "kafka"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogRig]:
    made = (
        embedded_rig(tmp_path / "log.db")
        if request.param == "embedded"
        else kafka_rig(request.getfixturevalue("kafka"))
    )
    async for one in made:
        yield one


async def test_records_are_delivered_in_the_order_of_appends(rig: LogRig) -> None:
    """Each partition's records, at consecutive offsets, with their keys and arrival times."""
    last = rig.client.partitions - 1
    await rig.client.append(entries("input", 0, 0, 300))
    await rig.client.append([*entries("input", last, 300, 100), Entry("service", 0, b"me", b"fine")])
    assert (await rig.client.end_offsets("input"))[last] == (400 if last == 0 else 100)
    consumer = rig.client.subscribe(["input", "service"])
    await consumer.start()
    found = await fetch(consumer, 401)
    assert values(found, partition=0) + (values(found, partition=last) if last else []) == [
        b"%d" % n for n in range(400)
    ]
    assert [one.offset for one in found if one[:2] == ("input", 0)] == list(range(400 if last == 0 else 300))
    assert [(one.key, one.value) for one in found if one.topic == "service"] == [(b"me", b"fine")]
    assert len({one.at_ms for one in found}) >= 1
    assert min(one.at_ms for one in found) > 0
    assert consumer.assignment() == {("service", 0), *(("input", nth) for nth in range(last + 1))}
    await consumer.close()


async def test_a_waiting_consumer_gets_a_record_at_once(rig: LogRig) -> None:
    """There is no polling interval: a new record ends the wait, and without one the fetch is empty."""
    consumer = rig.client.subscribe(["input"])
    await consumer.start()
    assert await consumer.fetch(wait_s=0.3) == []
    waiting = asyncio.create_task(consumer.fetch(wait_s=60))
    await asyncio.sleep(0.3)
    await rig.client.append(entries("input", 0, 0, 1))
    assert values(await asyncio.wait_for(waiting, 20)) == [b"0"]
    await consumer.close()


async def test_a_group_continues_at_its_committed_offset_after_a_restart(rig: LogRig) -> None:
    """Fetched and uncommitted records are delivered again; the lag counts what is left to commit."""
    await rig.client.append(entries("input", 0, 0, 100))
    consumer = rig.client.subscribe(["input"], group=rig.group)
    await consumer.start()
    await fetch(consumer, 100)
    assert (await rig.client.lag(rig.group, ["input"]))["input", 0] == 100
    await consumer.commit({("input", 0): 40})
    assert (await rig.client.lag(rig.group, ["input"]))["input", 0] == 60
    await consumer.close()

    client = await rig.reopen()
    consumer = client.subscribe(["input"], group=rig.group)
    await consumer.start()
    assert values(await fetch(consumer, 60)) == [b"%d" % nth for nth in range(40, 100)]
    await consumer.commit()
    assert sum((await client.lag(rig.group, ["input"])).values()) == 0
    await consumer.close()
    await consumer.close()


async def test_a_consumer_without_a_group_starts_at_given_offsets(rig: LogRig) -> None:
    """At an offset, or at the oldest record; of chosen partitions; it can't commit."""
    await rig.client.append([*entries("input", 0, 0, 20), *entries("facts", 0, 0, 5)])
    consumer = rig.client.subscribe(["input", "facts"], start_offsets={("input", 0): 15}, only_partitions=[0])
    await consumer.start()
    found = await fetch(consumer, 10)
    assert values(found) == [b"%d" % nth for nth in range(15, 20)]
    assert values(found, "facts") == [b"%d" % nth for nth in range(5)]
    with pytest.raises(LogError, match="without a group"):
        await consumer.commit()
    await consumer.close()


async def test_start_offsets_count_only_for_a_group_without_a_commit(rig: LogRig) -> None:
    """A new group starts at them; a group with a committed offset continues there."""
    await rig.client.append(entries("input", 0, 0, 20))
    for start, expected in ((12, range(12, 20)), (3, range(15, 20))):
        consumer = rig.client.subscribe(["input"], group=rig.group, start_offsets={("input", 0): start})
        await consumer.start()
        assert values(await fetch(consumer, len(expected))) == [b"%d" % nth for nth in expected]
        await consumer.commit({("input", 0): 15})
        await consumer.close()


async def test_a_paused_partition_waits_and_nothing_of_it_is_lost(rig: LogRig) -> None:
    """While one topic is paused others are fetched; after `resume` it continues after the last record fetched."""
    consumer = rig.client.subscribe(["input", "facts"])
    await consumer.start()
    await rig.client.append(entries("input", 0, 0, 3))
    await fetch(consumer, 3)
    paused: list[PartitionRef] = [("input", 0)]
    consumer.pause(paused)
    await rig.client.append([*entries("input", 0, 3, 3), *entries("facts", 0, 0, 3)])
    found = await fetch(consumer, 3)
    assert (values(found), values(found, "facts")) == ([], [b"0", b"1", b"2"])
    assert await consumer.fetch(wait_s=0.3) == []
    consumer.resume(paused)
    assert values(await fetch(consumer, 3)) == [b"3", b"4", b"5"]
    await consumer.close()


async def test_old_records_are_deleted_and_consumers_start_at_the_oldest_one(rig: LogRig) -> None:
    """Retention moves the beginning; the end and the last record stay."""
    await rig.client.append(entries("input", 0, 10, 30))
    assert await rig.client.beginning_offsets("input") == dict.fromkeys(range(rig.client.partitions), 0)
    await rig.delete_before("input", 20)
    assert (await rig.client.beginning_offsets("input"))[0] == 20
    assert (await rig.client.end_offsets("input"))[0] == 30
    last = await rig.client.last_records("input", range(rig.client.partitions))
    assert {place: (row.offset, row.value) for place, row in last.items()} == {0: (29, b"39")}
    assert await rig.client.last_records("facts", [0]) == {}
    assert (await rig.client.lag("nobody", ["input"]))["input", 0] == 10
    consumer = rig.client.subscribe(["input"])
    await consumer.start()
    assert values(await fetch(consumer, 10)) == [b"%d" % nth for nth in range(30, 40)]
    await consumer.close()


async def test_a_refused_append_names_the_reason_and_later_appends_work(rig: LogRig) -> None:
    """A record that is too large, and a partition that does not exist, raise an error; the client stays usable."""
    with pytest.raises(LogError, match="expected at most"):
        await rig.client.append([Entry("input", 0, None, bytes(40 << 20))])
    with pytest.raises(LogError, match="partition"):
        await rig.client.append([Entry("input", 99, None, b"x")])
    await rig.client.append([Entry("input", 0, None, bytes(20 << 20)), Entry("input", 0, None, b"x")])
    consumer = rig.client.subscribe(["input"])
    await consumer.start()
    assert [len(value) for value in values(await fetch(consumer, 2))] == [20 << 20, 1]
    await consumer.close()


async def test_a_deleted_key_is_not_delivered(rig: LogRig) -> None:
    """Of a compacted topic the latest value of each key is read last, and a deletion is no record."""
    await rig.client.append(
        [Entry("blocks", 0, b"k", b"1"), Entry("blocks", 0, b"l", b"2"), Entry("blocks", 0, b"l", None)]
    )
    await rig.client.append([Entry("blocks", 0, b"k", b"3")])
    consumer = rig.client.subscribe(["blocks"])
    await consumer.start()
    found: dict[bytes | None, bytes] = {}
    while found.get(b"k") != b"3":
        found.update({one.key: one.value for one in await consumer.fetch(wait_s=5)})
    assert all(found.values())
    await consumer.close()
