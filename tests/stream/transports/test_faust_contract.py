"""The contract of Faust on both logs, the embedded one and a real Apache Kafka, and of several workers on Kafka."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import faust
import pytest

from stream.partition.partition_hash import partition_of
from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.sqlite_log import SqliteLog
from stream.transports.faust_overrides.corrected_consumer import CorrectedConsumer
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.kafka_log.options import KafkaOptions
from stream.transports.log_client import Entry, LogClient
from tests.stream.transports.faust_apps import TOPICS, App, counting, embedded_app, kafka_app
from tests.stream.transports.rigs import until
from tests.support.servers import Kafka

PARTITIONS = 4


@dataclass
class FaustRig:
    """A log, and apps on it."""

    client: LogClient
    options: KafkaOptions | None
    log: SqliteLog | None
    apps: list[App]

    def app(self, standbys: int = 0, **settings: Any) -> App:
        """An app of the group, not started."""
        if self.options is not None:
            made = kafka_app(self.options, PARTITIONS, standbys, **settings)
        else:
            assert self.log is not None
            made = embedded_app(self.log, **settings)
        self.apps.append(made)
        return made

    def name(self, plain: str) -> str:
        """What Faust calls the topic."""
        return self.options.topic_name(plain) if self.options else plain

    @property
    def group(self) -> str:
        """The apps' group."""
        return self.apps[0].conf.id

    async def feed(self, start: int, count: int) -> None:
        """Appends records start..start+count, with ten keys per partition, over all partitions."""
        last = self.client.partitions
        await self.client.append(
            [
                Entry("input", nth % last, b"k%d" % (nth % (10 * last)), b"%d" % nth)
                for nth in range(start, start + count)
            ]
        )


async def one_rig(kind: str, request: pytest.FixtureRequest, path: Path) -> AsyncIterator[FaustRig]:
    apps: list[App] = []
    if kind == "embedded":
        log = SqliteLog(path)
        rig = FaustRig(EmbeddedClient(log), None, log, apps)
    else:
        kafka: Kafka = request.getfixturevalue("kafka")
        options = KafkaOptions(brokers=(kafka.bootstrap,), prefix=f"{kafka.prefix()}-", partitions=PARTITIONS)
        rig = FaustRig(KafkaClient(options, TOPICS), options, None, apps)
    await rig.client.start()
    yield rig
    for app in apps:
        if app.started:
            await asyncio.wait_for(app.stop(), 30)
    await rig.client.stop()
    if rig.log is not None:
        rig.log.close()


@pytest.fixture(params=["embedded", "kafka"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FaustRig]:
    async for one in one_rig(request.param, request, tmp_path / "log.db"):
        yield one


@pytest.fixture
async def on_kafka(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FaustRig]:
    async for one in one_rig("kafka", request, tmp_path):
        yield one


def consumer_of(app: App) -> CorrectedConsumer:
    return cast(CorrectedConsumer, app.consumer)


async def totals(rig: FaustRig, changelog: str = "counts-changelog") -> dict[bytes, int]:
    """Every key's count in the table's changelog."""
    topic = changelog if rig.options else f"starloop-{changelog}"
    found: dict[bytes, int] = {}
    consumer = rig.client.subscribe([topic])
    await consumer.start()
    while records := await consumer.fetch(wait_s=0.5):
        found.update({one.key or b"": int(one.value.split()[0]) for one in records})
    await consumer.close()
    return found


async def test_an_agent_gets_each_partition_s_records_in_order(rig: FaustRig) -> None:
    """Every record once, with its offset, and after a restart only new ones."""
    seen: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
    for life in range(2):
        app = rig.app()

        async def agent(stream: faust.Stream[bytes]) -> None:
            async for event in stream.events():
                seen[event.message.partition].append((event.message.offset, event.value))

        app.agent(app.topic(rig.name("input")))(agent)
        await app.start()
        await rig.feed(life * 2_000, 2_000)
        await until(lambda life=life: sum(map(len, seen.values())) == 2_000 * (life + 1))
        await app.stop()
        assert sum((await rig.client.lag(rig.group, ["input"])).values()) == 0
    count = rig.client.partitions
    for partition, found in seen.items():
        assert found == [(nth, b"%d" % (nth * count + partition)) for nth in range(4_000 // count)]


async def test_a_record_that_an_agent_has_not_finished_is_never_skipped_by_a_commit(rig: FaustRig) -> None:
    """With the first unfinished and all others finished nothing is committed; once it is finished, all are."""
    held: list[Any] = []
    app = rig.app()

    async def agent(stream: faust.Stream[bytes]) -> None:
        async for event in stream.noack().events():
            held.append(event)

    app.agent(app.topic(rig.name("input")))(agent)
    await rig.client.append([Entry("input", 0, None, b"%d" % nth) for nth in range(20)])
    await app.start()
    await until(lambda: len(held) == 20)
    for event in held[1:]:
        event.ack()
    await app.consumer.commit()
    assert (await rig.client.lag(rig.group, ["input"]))["input", 0] == 20
    held[0].ack()
    await app.consumer.commit()
    assert (await rig.client.lag(rig.group, ["input"]))["input", 0] == 0


async def test_an_offset_is_committed_after_what_depends_on_it(rig: FaustRig) -> None:
    """At every commit, everything that the agent sent for the records before it is in the log."""
    app = rig.app(broker_commit_interval=0.02)
    counting(app)
    consumer = consumer_of(app)
    commit = consumer._commit
    checked: list[bool] = []

    async def checking(offsets: Any) -> bool:
        ends = await rig.client.end_offsets("out")
        checked.extend(ends[tp.partition] >= offset for tp, offset in offsets.items())
        return await commit(offsets)

    consumer._commit = checking  # type: ignore[method-assign]
    await app.start()
    for nth in range(10):
        await rig.feed(nth * 300, 300)
        await asyncio.sleep(0.05)
    await until(
        lambda: consumer._committed_offset and sum(v or 0 for v in consumer._committed_offset.values()) >= 3_000
    )
    assert checked
    assert all(checked)


async def test_a_slow_agent_holds_the_fetcher_back_and_goes_on_at_once(rig: FaustRig) -> None:
    """Records waiting in memory stay near their limit, and delivery continues as soon as a queue has room."""
    app = rig.app(stream_buffer_maxsize=16)
    seen: list[float] = []
    waiting = 0

    async def agent(stream: faust.Stream[bytes]) -> None:
        nonlocal waiting
        async for _ in stream:
            waiting = max(waiting, len(consumer_of(app).unacked))
            await asyncio.sleep(0.002)
            seen.append(time.monotonic())

    app.agent(app.topic(rig.name("input")))(agent)
    await rig.client.append([Entry("input", 0, None, bytes(1_000)) for _ in range(500)])
    await app.start()
    await until(lambda: len(seen) == 500)
    assert waiting <= 3 * 16
    assert sum(later - earlier > 0.9 for earlier, later in pairwise(seen)) <= 2


async def ends_reach(rig: FaustRig, count: int) -> None:
    """Waits until `count` records were forwarded."""
    deadline = time.monotonic() + 60
    while sum((await rig.client.end_offsets("out")).values()) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@contextmanager
def worker(rig: FaustRig, path: Path, standbys: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs the counting app."""
    where = rig.options.brokers[0] if rig.options else str(path)
    prefix = rig.options.prefix if rig.options else "-"
    script = str(Path(__file__).with_name("faust_apps.py"))
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [sys.executable, script, where, prefix, str(PARTITIONS), str(standbys)],
        env={"PYTHONPATH": root, "PATH": ""}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_table_is_exact_after_its_worker_was_killed_again_and_again(rig: FaustRig, tmp_path: Path) -> None:
    """kill -9 in the middle, four times: the table recovers from its changelog, and every record counts once."""
    path = tmp_path / "log.db"
    await rig.feed(0, 6_000)
    for bound in (500, 1_500, 3_000, 4_500, 6_000):
        if rig.log is not None:
            rig.log.close()  # one process owns the embedded log: now the worker
        with worker(rig, path):
            start = time.monotonic()
            while time.monotonic() < start + 60:
                await asyncio.sleep(0.02)
                if rig.log is None:
                    reached = sum((await rig.client.end_offsets("out")).values())
                else:
                    with SqliteLog(path, read_only=True) as reader:
                        reached = reader.end("out")
                if reached >= bound:
                    break
            if bound == 6_000:
                await asyncio.sleep(5.0)  # the last records' table values are flushed by then, on a busy machine too
        if rig.log is not None:
            rig.log = SqliteLog(path)
            rig.client = EmbeddedClient(rig.log)
    found = await totals(rig)
    assert found == {b"k%d" % nth: 6_000 // (10 * rig.client.partitions) for nth in range(10 * rig.client.partitions)}


async def test_a_killed_worker_is_replaced(on_kafka: FaustRig, tmp_path: Path) -> None:
    """Two workers share the partitions; one is killed with kill -9: the other continues with all, with exact counts."""
    app = on_kafka.app(standbys=1)
    table = counting(app)
    with worker(on_kafka, tmp_path, standbys=1) as other:
        await app.start()
        await until(lambda: len(app.assignor.assigned_actives()) == PARTITIONS and not app.rebalancing)
        await on_kafka.feed(0, 2_000)
        await ends_reach(on_kafka, 2_000)
        # A standby replica of what the other worker counts is on this one already.
        await until(lambda: len(table) == 10 * PARTITIONS)
        other.kill()
        await on_kafka.feed(2_000, 2_000)
        await ends_reach(on_kafka, 4_000)
    assert len(app.assignor.assigned_actives()) == 2 * PARTITIONS
    await until(lambda: sum(int(value.split()[0]) for value in table.values()) == 4_000)
    await asyncio.sleep(0.5)
    assert set((await totals(on_kafka)).values()) == {100}


async def test_a_worker_that_was_frozen_writes_nothing_when_it_wakes(on_kafka: FaustRig, tmp_path: Path) -> None:
    """SIGSTOP for longer than its session: another worker has taken over, so it stops. A request that was in flight at that
    instant may still be sent, so a table refuses older values (durable_table_store.py, checkpoint.is_stale)."""
    app = on_kafka.app()
    counting(app)
    with worker(on_kafka, tmp_path) as frozen:
        await app.start()
        await until(lambda: len(app.assignor.assigned_actives()) == PARTITIONS and not app.rebalancing)
        await on_kafka.feed(0, 20_000)
        await ends_reach(on_kafka, 4_000)
        frozen.send_signal(signal.SIGSTOP)
        await until(lambda: len(app.assignor.assigned_actives()) == 2 * PARTITIONS)
        await ends_reach(on_kafka, 20_000)
        frozen.send_signal(signal.SIGCONT)
        await until(lambda: frozen.poll() is not None)
    await app.stop()
    found = list((await totals(on_kafka)).values())
    assert found.count(20_000 // (10 * PARTITIONS)) >= len(found) - PARTITIONS


async def test_a_worker_that_joins_takes_over_at_a_record_s_end(on_kafka: FaustRig) -> None:
    """Partitions move while agents process records: these are finished and committed first, so none is delivered twice."""
    first, second = on_kafka.app(), on_kafka.app()
    seen: list[tuple[int, int]] = []
    for app in (first, second):

        async def agent(stream: faust.Stream[bytes]) -> None:
            async for event in stream.events():
                await asyncio.sleep(0.002)
                seen.append((event.message.partition, event.message.offset))

        app.agent(app.topic(on_kafka.name("input")), name="count")(agent)
    await on_kafka.feed(0, 2_000)
    await first.start()
    await until(lambda: len(seen) > 200)
    await second.start()
    await until(lambda: len(set(seen)) == 2_000, 60)
    assert len(seen) == 2_000
    assert len(second.assignor.assigned_actives()) == 2


async def test_a_broker_killed_under_a_worker_loses_and_repeats_nothing_in_the_table(
    on_kafka: FaustRig, kafka: Kafka
) -> None:
    """The worker waits for the broker and continues by itself, with exact counts."""
    app = on_kafka.app()
    table = counting(app)
    await app.start()
    await on_kafka.feed(0, 2_000)
    await until(lambda: len(table) > 5)
    await asyncio.to_thread(kafka.restart, "kill")
    await on_kafka.feed(2_000, 2_000)
    await until(lambda: sum(int(value.split()[0]) for value in table.values()) == 4_000, 60)
    await app.stop()
    assert set((await totals(on_kafka)).values()) == {100}


async def test_faust_chooses_the_partition_that_kafka_would(on_kafka: FaustRig) -> None:
    """A record with a key and no partition goes to `partition_of` its key, as the broker's records show."""
    app = on_kafka.app()
    counting(app)
    await app.start()
    await until(app.assignor.assigned_actives)
    topic = app.topic(on_kafka.name("out"))
    for nth in range(200):
        await topic.send(key=b"customer-%d" % nth, value=b"x")
    await app.producer.flush()
    consumer = on_kafka.client.subscribe(["out"])
    await consumer.start()
    found: dict[bytes | None, int] = {}
    while len(found) < 200:
        found.update({one.key: one.partition for one in await consumer.fetch()})
    await consumer.close()
    assert found == {b"customer-%d" % nth: partition_of(f"customer-{nth}", PARTITIONS) for nth in range(200)}
