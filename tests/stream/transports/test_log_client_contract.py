"""One contract for both logs as those who are not Faust see them: the embedded one, and a real Apache Kafka."""

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


async def test_records_come_in_the_order_in_which_they_were_appended(rig: LogRig) -> None:
    """Each partition's records, at offsets one after the other, with their keys and when they were taken."""
    last = rig.client.partitions - 1
    await rig.client.append(entries("input", 0, 0, 300))
    await rig.client.append([*entries("input", last, 300, 100), Entry("service", 0, b"me", b"fine")])
    assert (await rig.client.end_offsets("input"))[last] == (400 if last == 0 else 100)
    follower = rig.client.subscribe(["input", "service"])
    await follower.start()
    found = await fetch(follower, 401)
    assert values(found, partition=0) + (values(found, partition=last) if last else []) == [
        b"%d" % n for n in range(400)
    ]
    assert [one.offset for one in found if one[:2] == ("input", 0)] == list(range(400 if last == 0 else 300))
    assert [(one.key, one.value) for one in found if one.topic == "service"] == [(b"me", b"fine")]
    assert len({one.at_ms for one in found}) >= 1
    assert min(one.at_ms for one in found) > 0
    assert follower.assignment() == {("service", 0), *(("input", nth) for nth in range(last + 1))}
    await follower.close()


async def test_a_waiting_follower_gets_a_record_at_once(rig: LogRig) -> None:
    """No polling interval: the record is there long before the wait is over, and nothing comes where nothing is new."""
    follower = rig.client.subscribe(["input"])
    await follower.start()
    assert await follower.fetch(wait_s=0.3) == []
    waiting = asyncio.create_task(follower.fetch(wait_s=60))
    await asyncio.sleep(0.3)
    await rig.client.append(entries("input", 0, 0, 1))
    assert values(await asyncio.wait_for(waiting, 20)) == [b"0"]
    await follower.close()


async def test_a_group_goes_on_where_it_committed_over_a_restart(rig: LogRig) -> None:
    """What was fetched and not committed comes again; lag counts what is left to commit."""
    await rig.client.append(entries("input", 0, 0, 100))
    follower = rig.client.subscribe(["input"], group=rig.group)
    await follower.start()
    await fetch(follower, 100)
    assert (await rig.client.lag(rig.group, ["input"]))["input", 0] == 100
    await follower.commit({("input", 0): 40})
    assert (await rig.client.lag(rig.group, ["input"]))["input", 0] == 60
    await follower.close()

    client = await rig.reopen()
    follower = client.subscribe(["input"], group=rig.group)
    await follower.start()
    assert values(await fetch(follower, 60)) == [b"%d" % nth for nth in range(40, 100)]
    await follower.commit()
    assert sum((await client.lag(rig.group, ["input"])).values()) == 0
    await follower.close()
    await follower.close()


async def test_a_follower_without_a_group_starts_where_it_is_told(rig: LogRig) -> None:
    """From an offset, or from the oldest record kept; of chosen partitions; it can't commit."""
    await rig.client.append([*entries("input", 0, 0, 20), *entries("facts", 0, 0, 5)])
    follower = rig.client.subscribe(["input", "facts"], start_offsets={("input", 0): 15}, only_partitions=[0])
    await follower.start()
    found = await fetch(follower, 10)
    assert values(found) == [b"%d" % nth for nth in range(15, 20)]
    assert values(found, "facts") == [b"%d" % nth for nth in range(5)]
    with pytest.raises(LogError, match="without a group"):
        await follower.commit()
    await follower.close()


async def test_a_new_group_may_start_late_and_an_old_one_goes_on(rig: LogRig) -> None:
    """`start` counts only where the group has no commit."""
    await rig.client.append(entries("input", 0, 0, 20))
    for told, expected in ((12, range(12, 20)), (3, range(15, 20))):
        follower = rig.client.subscribe(["input"], group=rig.group, start_offsets={("input", 0): told})
        await follower.start()
        assert values(await fetch(follower, len(expected))) == [b"%d" % nth for nth in expected]
        await follower.commit({("input", 0): 15})
        await follower.close()


async def test_a_paused_partition_waits_and_nothing_of_it_is_lost(rig: LogRig) -> None:
    """While one topic is paused others go on; after `resume` it goes on after the last record fetched."""
    follower = rig.client.subscribe(["input", "facts"])
    await follower.start()
    await rig.client.append(entries("input", 0, 0, 3))
    await fetch(follower, 3)
    paused: list[PartitionRef] = [("input", 0)]
    follower.pause(paused)
    await rig.client.append([*entries("input", 0, 3, 3), *entries("facts", 0, 0, 3)])
    found = await fetch(follower, 3)
    assert (values(found), values(found, "facts")) == ([], [b"0", b"1", b"2"])
    assert await follower.fetch(wait_s=0.3) == []
    follower.resume(paused)
    assert values(await fetch(follower, 3)) == [b"3", b"4", b"5"]
    await follower.close()


async def test_old_records_are_let_go_and_readers_start_at_the_oldest_kept(rig: LogRig) -> None:
    """Retention moves the beginning; the end, and the last record, stay."""
    await rig.client.append(entries("input", 0, 10, 30))
    assert await rig.client.beginning_offsets("input") == dict.fromkeys(range(rig.client.partitions), 0)
    await rig.forget("input", 20)
    assert (await rig.client.beginning_offsets("input"))[0] == 20
    assert (await rig.client.end_offsets("input"))[0] == 30
    last = await rig.client.last_records("input", range(rig.client.partitions))
    assert {place: (row.offset, row.value) for place, row in last.items()} == {0: (29, b"39")}
    assert await rig.client.last_records("facts", [0]) == {}
    assert (await rig.client.lag("nobody", ["input"]))["input", 0] == 10
    follower = rig.client.subscribe(["input"])
    await follower.start()
    assert values(await fetch(follower, 10)) == [b"%d" % nth for nth in range(30, 40)]
    await follower.close()


async def test_what_can_t_be_appended_is_said_and_later_appends_work(rig: LogRig) -> None:
    """A record that is too large, and a partition that is not there: an error that names it, and the client goes on."""
    with pytest.raises(LogError, match="expected at most"):
        await rig.client.append([Entry("input", 0, None, bytes(40 << 20))])
    with pytest.raises(LogError, match="partition"):
        await rig.client.append([Entry("input", 99, None, b"x")])
    await rig.client.append([Entry("input", 0, None, bytes(20 << 20)), Entry("input", 0, None, b"x")])
    follower = rig.client.subscribe(["input"])
    await follower.start()
    assert [len(value) for value in values(await fetch(follower, 2))] == [20 << 20, 1]
    await follower.close()


async def test_a_deleted_key_is_not_delivered(rig: LogRig) -> None:
    """Of a compacted topic the latest of each key is read last, and a deletion is no record."""
    await rig.client.append(
        [Entry("blocks", 0, b"k", b"1"), Entry("blocks", 0, b"l", b"2"), Entry("blocks", 0, b"l", None)]
    )
    await rig.client.append([Entry("blocks", 0, b"k", b"3")])
    follower = rig.client.subscribe(["blocks"])
    await follower.start()
    found: dict[bytes | None, bytes] = {}
    while found.get(b"k") != b"3":
        found.update({one.key: one.value for one in await follower.fetch(wait_s=5)})
    assert all(found.values())
    await follower.close()
