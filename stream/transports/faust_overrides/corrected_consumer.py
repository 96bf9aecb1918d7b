"""Faust's consumer, corrected for both logs; docs/internals/faust.md lists each correction with its upstream issue.

What it corrects: offsets are committed only up to the first record that is not handled; records are delivered one fetch at a
time; a consumer under back-pressure continues as soon as there is room; only changelogs are delivered while tables recover;
nothing that was fetched before a seek is delivered after it; stopping waits for a limited time.

What it adds: the offsets of a *held* topic are committed only as far as its agent releases them, and the records of a
*batched* topic that were fetched together are one message, since Faust's own cost per message exceeds that of a small record.

Not here: fetching, seeking and committing, which each transport implements (embedded_transport.py, kafka_transport.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer, RecordMap
from faust.types import TP, ConsumerMessage
from faust.types.tuples import Message
from mode import ServiceT

FETCH_RECORDS_MAX = 1_000
"""Records of one fetch: of one partition on the embedded log, of all partitions on Kafka."""
FETCH_WAIT_S = 1.0
"""How long one fetch waits for records before the fetcher checks whether it should stop."""
RECOVERY_POLL_S = 0.02
"""How long one fetch waits while tables recover: the end of recovery is noticed this late."""
STOP_WAIT_S_MAX = 5.0
"""How long stopping, or a rebalance, waits for agents to finish their records; unfinished ones are redelivered."""
STOP_POLL_S = 0.01
BATCH_BYTES_MAX = 256 << 10
BATCH_RECORDS_MAX = 256
"""Limits of one message of a batched topic: it keeps the event loop for as long as its agent needs for all of it."""
LOG_APPEND_TIME = 1
"""Kafka's number for a timestamp that the log assigned, as all topics here have."""


class CorrectedConsumer(Consumer):
    """The base of both transports' consumers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Offsets delivered and not yet committed, in the log's order: the head is the first one that is not handled.
        self._delivered: defaultdict[TP, deque[int]] = defaultdict(deque)
        self._released_offsets: dict[str, dict[TP, int]] = {}
        self._batched: set[str] = set()
        self._capacity = asyncio.Event()
        # The number of seeks so far, and that number when the last fetch began: a fetch of an earlier epoch is dropped.
        self._epoch = 0
        self._fetch_epoch = 0
        super().__init__(*args, **kwargs)

    # Held and batched topics

    def hold_commits(self, topic: str) -> None:
        """From now on, the topic's offsets are committed only as far as `release_commits` allows."""
        self._released_offsets.setdefault(topic, {})

    def release_commits(self, tp: TP, offset: int) -> None:
        """Records of `tp` before `offset` may be committed: their effects are durable."""
        released = self._released_offsets[tp.topic]
        released[tp] = max(offset, released.get(tp, 0))

    def deliver_batched(self, topic: str) -> None:
        """From now on, a message of the topic is a batch; its value is a tuple of (offset, value).

        The topic must be held, since a batch may end after the last record that its agent releases.
        """
        self._batched.add(topic)

    # Commits and seeks

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit, or None: the released one of a held topic, else the first that is not handled."""
        delivered, acked = self._delivered[tp], self._acked_index[tp]
        self._acked[tp].clear()  # Faust's second record of the same offsets; only the index is used here
        if tp.topic in self._released_offsets:
            released = self._released_offsets[tp.topic].get(tp)
            while delivered and delivered[0] < (released or 0):
                acked.discard(delivered.popleft())
            return released
        last: int | None = None
        while delivered and delivered[0] in acked:
            last = delivered.popleft()
            acked.discard(last)
        return None if last is None else last + 1

    def _forget_partitions(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            self._delivered.pop(tp, None)
            self._acked_index.pop(tp, None)
            self._released_offsets.get(tp.topic, {}).pop(tp, None)

    async def perform_seek(self) -> None:
        """Returns to the committed offsets: records delivered since then are delivered again."""
        self._epoch += 1
        self._forget_partitions(self.assignment())
        await super().perform_seek()
        self._epoch += 1

    async def seek(self, partition: TP, offset: int) -> None:
        """Continues the partition at `offset`, and forgets what was delivered of it."""
        self._epoch += 1
        self._forget_partitions([partition])
        await super().seek(partition, offset)
        self._epoch += 1

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Continues each partition at its offset."""
        for tp, offset in partitions.items():
            await self.seek(tp, offset)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forgets what was delivered of these partitions: another member may have them next."""
        self._epoch += 1
        self._forget_partitions(revoked)
        await super().on_partitions_revoked(revoked)

    # Fetching and delivery

    def on_buffer_drop(self, tp: TP) -> None:
        """Called when an agent's buffer has room again."""
        super().on_buffer_drop(tp)
        self._capacity.set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Fetches from these partitions again."""
        super().resume_partitions(tps)
        self._capacity.set()

    async def _wait_next_records(self, timeout: float) -> tuple[RecordMap | None, set[TP] | None]:  # noqa: ASYNC109 - as in Faust
        """One fetch; where every partition is under back-pressure, a wait until the first one has room."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        self._fetch_epoch = self._epoch
        if self.app.client_only:
            return await self._getmany(active_partitions=None, timeout=timeout), None
        self._capacity.clear()
        active = self._get_active_partitions()
        if self.app.rebalancing:
            # Only tables recover now. When recovery ends, Faust empties the agents' queues without going back, so a record
            # of another topic that is delivered before would be lost. Standby replicas start when recovery has ended, too.
            active = active & cast(TableManager, self.app.tables).recovery.active_tps
            timeout = min(timeout, RECOVERY_POLL_S)
        if active:
            return await self._getmany(active_partitions=active, timeout=timeout), active
        await self.wait_first(self._capacity.wait(), timeout=timeout)
        return {}, active

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """The fetcher's loop: fetch and deliver until stopped."""
        while not (self.should_stop or fetcher.should_stop):
            # Agents must run even where fetches return at once.
            await asyncio.sleep(0)
            try:
                await self._drain_once()
            except self.consumer_stopped_errors:
                if self.transport.app.should_stop:
                    return
                raise

    async def _drain_once(self) -> None:
        records, _ = await self._wait_next_records(FETCH_WAIT_S)
        epoch = self._fetch_epoch
        if not records or self.should_stop:
            return
        if self.flow_active:
            # One race for the whole fetch: it ends where the flow is suspended while an agent's queue is full.
            await self.wait_first(self._deliver(records, epoch), self.suspend_flow.wait())
        else:
            # Fetched while the flow was suspended, so not delivered: these records must be fetched again.
            await self.perform_seek()

    async def _deliver(self, records: RecordMap, epoch: int) -> None:
        acks_enabled_for, client_only = self.app.topics.acks_enabled_for, self.app.client_only
        for tp in records:
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        returned: set[TP] = set()
        for tp, message in self._messages(records):
            if not self.flow_active or self._epoch != epoch:
                return  # a seek came between: everything after the new offsets is fetched again
            if tp in returned:
                continue
            if not (client_only or tp in self._active_partitions or tp in self._buffered_partitions):
                await self._seek(tp, message.value[0][0] if tp.topic in self._batched else message.offset)
                returned.add(tp)
                continue
            read = self._read_offset[tp]
            if read is not None and message.offset < read:
                continue
            if acks_enabled_for(message.topic):
                self._delivered[tp].append(message.offset)
            self._read_offset[tp] = message.offset + 1
            if self._commit_every is not None and self._n_acked >= self._commit_every:
                self._n_acked = 0
                await self.commit()
            await self.callback(message)

    def _messages(self, records: RecordMap) -> Iterator[tuple[TP, Any]]:
        single = {tp: rows for tp, rows in records.items() if tp.topic not in self._batched}
        for tp, record in self.scheduler.iterate(single):
            yield tp, self._to_message(tp, record)
        for tp, rows in records.items():
            if tp.topic in self._batched:
                for batch in _batches(rows):
                    message = self._to_message(tp, batch[-1])
                    message.value = cast(Any, tuple((record.offset, record.value) for record in batch))
                    yield tp, message

    def _appended_ms(self, record: Any) -> int:
        """When the log took the record, in milliseconds since the epoch."""
        raise NotImplementedError

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            self._appended_ms(record) / 1000,
            LOG_APPEND_TIME,
            None,
            record.key,
            record.value,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    # Stopping

    async def wait_empty(self) -> None:
        """Waits, for a limited time, until agents have finished the records delivered to them; then commits."""
        deadline = time.monotonic() + STOP_WAIT_S_MAX
        while self._unacked_messages and time.monotonic() < deadline:
            await asyncio.sleep(STOP_POLL_S)
            self._clean_unacked_messages()
        if self._unacked_messages:
            self.log.warning("Stopping with %d records unfinished: they will be redelivered", len(self.unacked))
        await self.commit_and_end_transactions()

    @property
    def unacked(self) -> set[Message]:
        """Records delivered to agents and not yet finished."""
        return cast(set[Message], self._unacked_messages)

    # Abstract in Faust, and never called: the first two serve its transactions only, the third its own Kafka driver.

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Not supported: topics are made before the app starts."""
        raise NotImplementedError

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Not supported: whoever sends names the partition, or leaves it to the log's client."""
        raise NotImplementedError

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """A partition's records in batches of a limited size, in their order."""
    batch: list[Any] = []
    size_bytes = 0
    for record in rows:
        if batch and (len(batch) >= BATCH_RECORDS_MAX or size_bytes >= BATCH_BYTES_MAX):
            yield batch
            batch, size_bytes = [], 0
        batch.append(record)
        size_bytes += len(record.value or b"")
    if batch:
        yield batch
