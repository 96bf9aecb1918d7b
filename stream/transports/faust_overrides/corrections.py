"""What every transport of ours corrects in Faust 0.15's own consumer and producer, in one place for all of them.

Each correction has a test that shows plain Faust's behaviour failing (tests/stream/transports/test_faust_corrections.py):
1. Offsets are committed only up to the first record that is not handled (Faust could skip it).
2. A flush returns when everything handed in was sent (Faust gives up after 0.1 s without progress).
3. Records are delivered a fetch at a time against one wait for a suspended flow (Faust makes three tasks a record).
4. A consumer whose partitions are all under back-pressure goes on when the first has room (Faust sleeps a second).
5. A key that is a number is sent as its text (Faust crashes the agent, and then does not stop).
6. While tables recover, only their changelogs are delivered, and nothing that was fetched before a seek is delivered after
   it (Faust empties the agents' queues after recovery, and what had been delivered early was lost).
And two additions. A held topic is committed only as far as its agent released it, so that an offset can follow a checkpoint,
and since Faust takes a record as handled even where its agent failed on it or was cancelled. And of a packed topic records
that were fetched together are one message, whose value is a tuple of (offset, value): Faust's own way of a message to an agent
costs more than what the agent does with a small one.

Not here: fetching and sending themselves; that is each transport's own (embedded_transport.py, kafka.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any, cast

from faust.tables.manager import TableManager
from faust.transport.consumer import Consumer, RecordMap
from faust.transport.producer import Producer, ProducerBuffer
from faust.types import TP
from faust.types.tuples import FutureMessage, Message
from mode import Service, ServiceT

FETCH_WAIT_S = 1.0
"""How long one fetch waits for records before it looks again whether it should stop."""
RECOVERY_POLL_S = 0.02
"""While tables recover, how often the consumer looks whether they have."""
STOP_WAIT_S_MAX = 5.0
"""How long a stopping consumer waits for agents to finish the records they hold; what is not finished is redelivered."""
STOP_POLL_S = 0.01
BATCH_BYTES_MAX = 256 << 10
BATCH_RECORDS_MAX = 256
"""How much one message of a packed topic holds."""
BUFFERED_MESSAGES_MAX = 1_000
"""Messages a table or agent may put in the producer's buffer before streams wait for it."""


def key_bytes(key: object) -> bytes | None:
    """A message's key as bytes: bytes as they are, text as UTF-8, a number as its text. Raises TypeError for others."""
    if key is None or isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, int | float):
        return str(key).encode()
    raise TypeError(f"a message's key is {type(key).__name__}: expected bytes, text or a number")


class CorrectedConsumer(Consumer):
    """Faust's consumer with corrections 1, 3 and 4, and held topics."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Offsets handed to agents and not yet committed, in the log's order; the head is the first one not handled.
        self._delivered: defaultdict[TP, deque[int]] = defaultdict(deque)
        self._released_offsets: dict[str, dict[TP, int]] = {}
        self._batched: set[str] = set()
        self._capacity = asyncio.Event()
        # Counts the times that fetching was set to other offsets: what was fetched before is not delivered after.
        self._epoch = 0
        # Of the last fetch, at the moment when it was asked for.
        self._fetch_epoch = 0
        super().__init__(*args, **kwargs)

    def hold_commits(self, topic: str) -> None:
        """From now on the topic's offsets are committed only as far as `release` says."""
        self._released_offsets.setdefault(topic, {})

    def release_commits(self, tp: TP, offset: int) -> None:
        """Records of `tp` before `offset` may be committed: what they changed is durable."""
        released = self._released_offsets[tp.topic]
        released[tp] = max(offset, released.get(tp, 0))

    def deliver_batched(self, topic: str) -> None:
        """From now on the topic's records come packed; it must be held, as a pack may end behind what its agent releases."""
        self._batched.add(topic)

    def _new_offset(self, tp: TP) -> int | None:
        """The offset to commit: of a held topic as released, else after the leading records that are all handled; or None."""
        handed, acked = self._delivered[tp], self._acked_index[tp]
        self._acked[tp].clear()  # the base class's own list of the same; only the index is used here
        if tp.topic in self._released_offsets:
            bound = self._released_offsets[tp.topic].get(tp)
            while handed and handed[0] < (bound or 0):
                acked.discard(handed.popleft())
            return bound
        last: int | None = None
        while handed and handed[0] in acked:
            last = handed.popleft()
            acked.discard(last)
        return None if last is None else last + 1

    def _forget_partitions(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            self._delivered.pop(tp, None)
            self._acked_index.pop(tp, None)
            self._released_offsets.get(tp.topic, {}).pop(tp, None)

    async def perform_seek(self) -> None:
        """Back to what is committed: what was handed out since will be handed out again."""
        self._epoch += 1
        self._forget_partitions(self.assignment())
        await super().perform_seek()
        self._epoch += 1

    async def seek(self, partition: TP, offset: int) -> None:
        """To `offset`; what was handed out of the partition is forgotten."""
        self._epoch += 1
        self._forget_partitions([partition])
        await super().seek(partition, offset)
        self._epoch += 1

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """What was handed out of these partitions is another one's business now."""
        self._epoch += 1
        self._forget_partitions(revoked)
        await super().on_partitions_revoked(revoked)

    def on_buffer_drop(self, tp: TP) -> None:
        """An agent's buffer has room again."""
        super().on_buffer_drop(tp)
        self._capacity.set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Fetch from these partitions again."""
        super().resume_partitions(tps)
        self._capacity.set()

    async def _wait_next_records(self, timeout: float) -> tuple[RecordMap | None, set[TP] | None]:  # noqa: ASYNC109 - as in Faust
        """A fetch, or, where every partition is under back-pressure, a wait until the first has room."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        self._fetch_epoch = self._epoch
        if self.app.client_only:
            return await self._getmany(active_partitions=None, timeout=timeout), None
        self._capacity.clear()
        active = self._get_active_partitions()
        if self.app.rebalancing:
            # Only tables recover now. Faust empties the agents' queues when recovery is over, without going back: a record
            # of another topic that is delivered before would be lost.
            # The same holds for what a standby copy would be fed with: it begins when all others do.
            active = active & cast(TableManager, self.app.tables).recovery.active_tps
            timeout = min(timeout, RECOVERY_POLL_S)
        if active:
            return await self._getmany(active_partitions=active, timeout=timeout), active
        await self.wait_first(self._capacity.wait(), timeout=timeout)
        return {}, active

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """The fetcher's loop: fetch, deliver, until stopped."""
        while not (self.should_stop or fetcher.should_stop):
            # Agents must get their turn even where fetches come back at once.
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
            # One race for the whole fetch: where the flow is suspended while an agent's queue is full, this lets go.
            await self.wait_first(self._deliver(records, epoch), self.suspend_flow.wait())
        else:
            # Fetched while the flow was suspended: these records were not delivered, so they must be fetched again.
            await self.perform_seek()

    async def _deliver(self, records: RecordMap, epoch: int) -> None:
        acks_enabled_for, client_only = self.app.topics.acks_enabled_for, self.app.client_only
        for tp in records:
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
        sought: set[TP] = set()
        for tp, message in self._messages(records):
            if not self.flow_active or self._epoch != epoch:
                return  # set back to other offsets, from which all of these come again
            if tp in sought:
                continue
            if not (client_only or tp in self._active_partitions or tp in self._buffered_partitions):
                await self._seek(tp, message.value[0][0] if tp.topic in self._batched else message.offset)
                sought.add(tp)
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
        loose = {tp: rows for tp, rows in records.items() if tp.topic not in self._batched}
        for tp, record in self.scheduler.iterate(loose):
            yield tp, self._to_message(tp, record)
        for tp, rows in records.items():
            if tp.topic in self._batched:
                for batch in _batches(rows):
                    message = self._to_message(tp, batch[-1])
                    message.value = cast(Any, tuple((record.offset, record.value) for record in batch))
                    yield tp, message

    async def wait_empty(self) -> None:
        """Waits, for a limited time, until agents finished the records they hold, and commits."""
        deadline = time.monotonic() + STOP_WAIT_S_MAX
        while self._unacked_messages and time.monotonic() < deadline:
            await asyncio.sleep(STOP_POLL_S)
            self._clean_unacked_messages()
        if self._unacked_messages:
            self.log.warning("Stopping with %d records unfinished: they will be redelivered", len(self.unacked))
        await self.commit_and_end_transactions()

    @property
    def unacked(self) -> set[Message]:
        """Records that agents still hold."""
        return cast(set[Message], self._unacked_messages)


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Records of a partition in packs of a limited size, in their order."""
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


class CorrectedBuffer(ProducerBuffer):
    """Faust's producer buffer whose flush returns when it is empty and nothing is half sent, in the order of `put`."""

    max_messages = BUFFERED_MESSAGES_MAX

    def __post_init__(self) -> None:
        super().__post_init__()
        self._filled = asyncio.Event()
        self._sending = asyncio.Lock()

    def put(self, fut: FutureMessage) -> None:
        """Adds a message, to be sent soon."""
        self.pending.put_nowait(fut)
        self._filled.set()

    async def flush(self) -> None:
        """Sends everything that was put before this call; returns when the producer has taken it. Raises what sending
        raised: then nothing that rests on these messages may be committed."""
        async with self._sending:
            while not self.pending.empty():
                await self._send_pending(self.pending.get_nowait())
                self.message_sent.set()

    async def flush_atmost(self, max_messages: int | None) -> int:
        """As `flush`; how many were sent is not counted."""
        await self.flush()
        return 0

    async def wait_until_ebb(self) -> None:
        """Lets streams wait where the buffer is too full."""
        if self.size > self.max_messages:
            await self.flush()

    async def on_stop(self) -> None:
        """What is left is sent before the producer goes."""
        await self.flush()

    @Service.task
    async def _handle_pending(self) -> None:
        while not self.should_stop:
            await self._filled.wait()
            self._filled.clear()
            await self.flush()


class CorrectedProducer(Producer):
    """Faust's producer with corrections 2 and 5: a transport calls `key_bytes` and flushes `buffer` first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer = CorrectedBuffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app
