"""A Faust transport on Kafka, in the app's own event loop: corrections of Faust are in base.py, as for the embedded log.

Faust's own driver runs the consumer in a thread and asks it across for every fetch; here aiokafka's consumer is used where
it is, so nothing is handed over and nothing races. The price is that heartbeats wait while the loop is held: no piece of
work may take longer than the session's time. Partitions are shared out by Faust's assignor, so that a table's changelog
goes with the topic that feeds it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport import base as faust_base
from faust.transport import drivers
from faust.types import TP, AppT, ConsumerMessage
from faust.types.transports import ConsumerT, ProducerT
from mode import Service
from yarl import URL

from star.errors import LogError
from stream.partition.partition_hash import murmur2
from stream.transports.faust_overrides.corrections import CorrectedConsumer
from stream.transports.faust_overrides.kafka_producer import FaustKafkaProducer
from stream.transports.kafka_log.options import OPERATION_S_MAX, RETRY_MS, STOP_S_MAX, KafkaOptions

SCHEME = "starloop-kafka"
"""Not `kafka`, which is Faust's own driver."""
FETCH_RECORDS_MAX = 1_000
FOREVER_S = 1e6
"""For waits of Faust's recovery, which goes on with half of what it asked for where they end early."""

_logger = structlog.get_logger(__name__)


def register() -> None:
    """Makes `starloop-kafka://` known to Faust, as an entry point of the group `faust.transports` would."""
    drivers.TRANSPORTS.aliases[SCHEME] = "stream.transports.faust_overrides.kafka_transport:KafkaTransport"


def faust_settings(options: KafkaOptions, *, partitions: int, standbys: int = 0) -> dict[str, Any]:
    """Settings of a faust.App on this transport. partitions: of topics kept apart by customer, as the client found them.
    standbys: how many other workers keep a copy of a table's partition."""
    return {
        "id": options.app_id,
        "broker": URL(f"{SCHEME}://{options.brokers[0]}"),
        "broker_client_id": options.client_id,
        "broker_session_timeout": options.session_timeout_s,
        "broker_heartbeat_interval": options.heartbeat_s,
        "broker_request_timeout": FOREVER_S,
        "topic_partitions": partitions,
        "topic_replication_factor": options.replication,
        "table_standby_replicas": standbys,
        # A partition goes to another worker when its agent has finished the record in its hands.
        "stream_wait_empty": True,
    }


class _RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells Faust's consumer, in the words of aiokafka."""

    def __init__(self, consumer: FaustKafkaConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Before the group shares out anew."""
        self._consumer.app.on_rebalance_start()
        await self._consumer.on_partitions_revoked(_to_faust(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """What this worker has from now on."""
        consumer = self._consumer
        generation = consumer.kafka._coordinator.generation
        consumer.app.consumer_generation_id = generation
        await consumer.on_partitions_assigned(_to_faust(assigned), generation)


class FaustKafkaConsumer(CorrectedConsumer):
    """A member of the app's group."""

    consumer_stopped_errors: ClassVar[tuple[type[BaseException], ...]] = (ConsumerStoppedError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options = cast(KafkaTransport, self.transport).options
        self.kafka: Any = None
        self._last_tick_s = _boottime_clock_s()

    async def on_start(self) -> None:
        """Connects; the group is joined when the topics are known."""
        await super().on_start()
        self.kafka = AIOKafkaConsumer(
            **self._options.consumer_config(self.app.conf.id), partition_assignment_strategy=(self.app.assignor,)
        )
        with self._options.translate_errors("connect"):
            await self.kafka.start()
        # Otherwise it stops fetching for 0.1 s whenever records of any partition wait to be taken.
        self.kafka._fetcher._prefetch_backoff = 0.0

    async def on_stop(self) -> None:
        """Commits what is handled and leaves the group, so that others take over at once."""
        await super().on_stop()
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(STOP_S_MAX):
                await self.kafka.stop()

    @property
    def stalled_s(self) -> float:
        """For how long this process has not had its turn, where that is longer than the group waits for it; else 0."""
        away_s = _boottime_clock_s() - self._last_tick_s
        return away_s if away_s > self._options.session_timeout_s else 0.0

    @Service.task
    async def _watch_for_stalls(self) -> None:
        """Ends the app that was held, or frozen, for longer than its session: another worker may have its partitions, and
        what it was about to write would undo what that one has written."""
        self._last_tick_s = _boottime_clock_s()
        while not self.should_stop:
            if stalled_s := self.stalled_s:
                error = LogError(
                    f"this worker did nothing for {stalled_s:.1f} s, longer than its session of"
                    f" {self._options.session_timeout_s:g} s: another may have taken over: it ends and may start again"
                )
                cast(FaustKafkaProducer, self.app.producer).stop_sending(error)
                await self.crash(error)
                return
            self._last_tick_s = _boottime_clock_s()
            await asyncio.sleep(self._options.heartbeat_s / 4)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Joins the group for these topics; an app that reads none stays out."""
        if names := sorted(topics):
            self.kafka.subscribe(names, listener=_RebalanceListener(self))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Agents finish the records in their hands, and these are committed, while this worker still has the partitions."""
        if revoked and not self.app.should_stop:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.pause_partitions(revoked)
            self.app.flow_control.clear()
            await self.wait_empty()
            await self.force_commit()  # where another commit was under way, `wait_empty` made none of its own
        await super().on_partitions_revoked(revoked)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - as in Faust
    ) -> dict[TP, list[ConsumerRecord[bytes, bytes]]]:
        assigned = self.assignment()
        wanted = assigned if active_partitions is None else active_partitions & assigned
        if not wanted:
            await asyncio.sleep(min(timeout, RETRY_MS / 1000))
            return {}
        tps = [TopicPartition(*tp) for tp in wanted]
        epoch = self._epoch
        with self._options.translate_errors("fetch"):
            found = await self.kafka.getmany(*tps, timeout_ms=int(timeout * 1000), max_records=FETCH_RECORDS_MAX)
        if self._epoch == epoch:
            return {TP(*tp): records for tp, records in found.items()}
        # aiokafka waits in `getmany` while the group shares out anew, and then takes what lies after the new start. It is
        # not delivered, since it was asked for before: so it is put back, to be fetched again.
        for tp, records in found.items():
            self.kafka.seek(tp, records[0].offset)
        return {}

    def _to_message(self, tp: TP, record: ConsumerRecord[bytes, bytes]) -> ConsumerMessage:
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp / 1000,
            record.timestamp_type,
            record.headers,
            record.key,
            record.value,
            record.checksum,
            record.serialized_key_size,
            record.serialized_value_size,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assigned = self.assignment()
        mine = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in assigned}
        if not mine:
            return False
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                await self.kafka.commit(mine)
        except (CommitFailedError, IllegalStateError):
            _logger.info("put_off_commit", error="the group is sharing out anew")
            return False
        except (KafkaError, TimeoutError) as error:
            # Not committed means handled again after a restart, which is right; a later commit covers these offsets.
            _logger.warning("put_off_commit", error=str(self._options.to_log_error("commit", error)))
            return False
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Every partition to its committed offset, or its beginning; those that have one. Changelogs have none: recovery
        puts them where it wants them."""
        tps = [TopicPartition(*tp) for tp in self.assignment() if not self._is_changelog_tp(tp)]
        if not tps:
            return {}
        known = await self.kafka._coordinator.fetch_committed_offsets(tps)
        committed = {TP(*tp): found.offset for tp, found in known.items() if found.offset >= 0}
        begins = await self.earliest_offsets(*(TP(*tp) for tp in tps if TP(*tp) not in committed))
        assigned = self.assignment()
        for tp, offset in {**begins, **committed}.items():
            if tp in assigned:
                self.kafka.seek(TopicPartition(*tp), offset)
        return committed

    async def _seek(self, partition: TP, offset: int) -> None:
        self.kafka.seek(TopicPartition(*partition), max(0, offset))

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Each partition to its offset."""
        for tp, offset in partitions.items():
            await self.seek(tp, offset)

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Each partition to its first kept record."""
        await self.seek_wait(await self.earliest_offsets(*partitions))

    async def position(self, tp: TP) -> int | None:
        """The offset of the next record to fetch."""
        return cast(int, await self.kafka.position(TopicPartition(*tp)))

    def assignment(self) -> set[TP]:
        """This worker's partitions, standby copies too."""
        return set() if self.kafka is None else _to_faust(self.kafka.assignment())

    def highwater(self, tp: TP) -> int:
        """The offset that the next record of the partition will get, as of the last fetch; 0 before the first."""
        if tp not in self.assignment():
            return 0
        return self.kafka.highwater(TopicPartition(*tp)) or 0

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Of each the offset that the next record will get, asked for now."""
        return await self._query_offsets(self.kafka.end_offsets, partitions)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """The first kept offset of each."""
        return await self._query_offsets(self.kafka.beginning_offsets, partitions)

    async def _query_offsets(self, query: Any, partitions: Iterable[TP]) -> dict[TP, int]:
        """Asks until it is answered: a recovery that begins without these offsets would take an empty table as whole."""
        tps = [TopicPartition(*tp) for tp in partitions]
        while tps:
            try:
                return {TP(*tp): offset for tp, offset in (await query(tps)).items()}
            except KafkaError as error:
                _logger.warning("wait_for_log", error=str(self._options.to_log_error("ask for offsets", error)))
                if self.should_stop:
                    raise self._options.to_log_error("ask for offsets", error) from error
                await asyncio.sleep(RETRY_MS / 1000)
        return {}

    def topic_partitions(self, topic: str) -> int | None:
        """How many the topic has; None where it is not known."""
        return len(self.kafka.partitions_for_topic(topic) or ()) or None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """As Kafka's default partitioner."""
        count = self.topic_partitions(topic)
        if partition is not None or count is None or key is None:
            return partition
        return (murmur2(key) & 0x7FFFFFFF) % count

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """As the producer's."""
        await self.app.producer.create_topic(topic, partitions, replication, **kwargs)

    def close(self) -> None:
        """Nothing: stopping leaves the group."""


def _boottime_clock_s() -> float:
    """A clock that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _to_faust(tps: Iterable[TopicPartition]) -> set[TP]:
    return {TP(tp.topic, tp.partition) for tp in tps}


class KafkaTransport(faust_base.Transport):
    """The transport; options are given by the service, or have only the brokers of the URL."""

    Consumer: ClassVar[type[ConsumerT]] = FaustKafkaConsumer
    Producer: ClassVar[type[ProducerT]] = FaustKafkaProducer
    driver_version = "aiokafka"

    def __init__(
        self,
        url: list[URL],
        app: AppT,
        loop: asyncio.AbstractEventLoop | None = None,
        options: KafkaOptions | None = None,
    ) -> None:
        super().__init__(url, app, loop)
        self.options = options or KafkaOptions(brokers=tuple(f"{one.host}:{one.port or 9092}" for one in url))
