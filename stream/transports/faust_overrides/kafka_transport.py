"""A Faust transport on Kafka, in the app's own event loop.

Faust's own driver runs aiokafka's consumer in a thread of its own and crosses threads for every fetch. Here the consumer runs
in the app's loop, so nothing crosses threads and nothing races. The price: heartbeats wait while the loop is held, so no
piece of work may take longer than the session timeout. Faust's assignor distributes the partitions, so that a table's
changelog goes with the topic that feeds it. Corrections of Faust's own behaviour are in corrected_consumer.py.
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
from faust.types import TP, AppT
from faust.types.transports import ConsumerT, ProducerT
from mode import Service
from yarl import URL

from star.errors import LogError
from stream.transports.faust_overrides.corrected_consumer import FETCH_RECORDS_MAX, CorrectedConsumer
from stream.transports.faust_overrides.kafka_producer import FaustKafkaProducer
from stream.transports.kafka_log.options import OPERATION_S_MAX, RETRY_MS, STOP_S_MAX, KafkaOptions

SCHEME = "starloop-kafka"
"""Scheme of the broker's URL in Faust's settings: not `kafka`, which is Faust's own driver."""
FOREVER_S = 1e6
"""Limit of each wait of Faust's recovery: after a shorter one, recovery would continue without what it waited for."""

_logger = structlog.get_logger(__name__)


def faust_settings(options: KafkaOptions, *, partitions: int, standbys: int = 0) -> dict[str, Any]:
    """The settings of a faust.App on this transport.

    partitions: of the topics partitioned by customer, as the log's client found them. standbys: how many other workers keep a
    replica of each partition of a table.
    """
    return {
        "id": options.app_id,
        "broker": URL(f"{SCHEME}://{options.brokers[0]}"),
        "broker_client_id": options.client_id,
        "broker_session_timeout": options.session_timeout_s,
        "broker_heartbeat_interval": options.heartbeat_s,
        "broker_request_timeout": FOREVER_S,
        # The log's client has made every topic, with its own configuration.
        "topic_allow_declare": False,
        "topic_partitions": partitions,
        "topic_replication_factor": options.replication,
        "table_standby_replicas": standbys,
        # A partition moves to another worker only when its agent has finished the record it is processing.
        "stream_wait_empty": True,
    }


class _RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes rebalances from aiokafka to Faust's consumer."""

    def __init__(self, consumer: FaustKafkaConsumer) -> None:
        self._consumer = consumer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called before a rebalance."""
        self._consumer.app.on_rebalance_start()
        await self._consumer.on_partitions_revoked(_to_faust(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called after a rebalance with this worker's partitions."""
        consumer = self._consumer
        generation = consumer.kafka._coordinator.generation
        consumer.app.consumer_generation_id = generation
        await consumer.on_partitions_assigned(_to_faust(assigned), generation)


class FaustKafkaConsumer(CorrectedConsumer):
    """A member of the app's consumer group."""

    consumer_stopped_errors: ClassVar[tuple[type[BaseException], ...]] = (ConsumerStoppedError,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._options = cast(KafkaTransport, self.transport).options
        self.kafka: Any = None
        self._last_tick_s = _boottime_clock_s()

    async def on_start(self) -> None:
        """Connects; the group is joined by `subscribe`."""
        await super().on_start()
        self.kafka = AIOKafkaConsumer(
            **self._options.consumer_config(self.app.conf.id), partition_assignment_strategy=(self.app.assignor,)
        )
        with self._options.translate_errors("connect"):
            await self.kafka.start()
        # Otherwise aiokafka pauses fetching for 0.1 s whenever fetched records of any partition were not taken yet.
        self.kafka._fetcher._prefetch_backoff = 0.0

    async def on_stop(self) -> None:
        """Commits what is handled and leaves the group, so that other members take over at once."""
        await super().on_stop()
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(STOP_S_MAX):
                await self.kafka.stop()

    @property
    def stalled_s(self) -> float:
        """For how long this process did not run, in seconds, where that exceeds the session timeout; else 0."""
        away_s = _boottime_clock_s() - self._last_tick_s
        return away_s if away_s > self._options.session_timeout_s else 0.0

    @Service.task
    async def _watch_for_stalls(self) -> None:
        """Stops an app that was blocked or frozen for longer than its session.

        Another worker may own its partitions by now, and what this one was about to write would overwrite that one's records.
        """
        self._last_tick_s = _boottime_clock_s()
        while not self.should_stop:
            if stalled_s := self.stalled_s:
                error = LogError(
                    f"this worker was stalled for {stalled_s:.1f} s, longer than its session of"
                    f" {self._options.session_timeout_s:g} s: another may have taken over: it stops, and may be restarted"
                )
                cast(FaustKafkaProducer, self.app.producer).stop_sending(error)
                await self.crash(error)
                return
            self._last_tick_s = _boottime_clock_s()
            await asyncio.sleep(self._options.heartbeat_s / 4)

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Joins the group for these topics; an app that reads none does not join."""
        if names := sorted(topics):
            self.kafka.subscribe(names, listener=_RebalanceListener(self))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Lets agents finish the records delivered to them, and commits these, while this worker still owns the partitions."""
        if revoked and not self.app.should_stop:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.pause_partitions(revoked)
            self.app.flow_control.clear()
            await self.wait_empty()
            await self.force_commit()  # while another commit is running, `wait_empty` makes none of its own
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
        # aiokafka waits in `getmany` during a rebalance, and then returns records from the new position on. They belong to a
        # fetch of an earlier epoch, which is not delivered, so they are put back, to be fetched again.
        for tp, records in found.items():
            self.kafka.seek(tp, records[0].offset)
        return {}

    def _appended_ms(self, record: ConsumerRecord[bytes, bytes]) -> int:
        return int(record.timestamp)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        assigned = self.assignment()
        mine = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items() if tp in assigned}
        if not mine:
            return False
        try:
            async with asyncio.timeout(OPERATION_S_MAX):
                await self.kafka.commit(mine)
        except (CommitFailedError, IllegalStateError):
            _logger.info("put_off_commit", error="the group is rebalancing")
            return False
        except (KafkaError, TimeoutError) as error:
            # Uncommitted records are handled again after a restart, which is safe; a later commit covers these offsets.
            _logger.warning("put_off_commit", error=str(self._options.to_log_error("commit", error)))
            return False
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Continues every partition at its committed offset, else at its beginning; gives the committed offsets.

        Changelogs have none: recovery seeks in them itself.
        """
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

    async def position(self, tp: TP) -> int | None:
        """The offset of the next record to fetch."""
        return cast(int, await self.kafka.position(TopicPartition(*tp)))

    def assignment(self) -> set[TP]:
        """This worker's partitions, standby replicas included."""
        return set() if self.kafka is None else _to_faust(self.kafka.assignment())

    def highwater(self, tp: TP) -> int:
        """The offset that the next record of the partition will get, as of the last fetch; 0 before the first."""
        if tp not in self.assignment():
            return 0
        return self.kafka.highwater(TopicPartition(*tp)) or 0

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """The offset that each partition's next record will get, queried now."""
        return await self._query_offsets(self.kafka.end_offsets, partitions)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """The offset of each partition's oldest record."""
        return await self._query_offsets(self.kafka.beginning_offsets, partitions)

    async def _query_offsets(self, query: Any, partitions: Iterable[TP]) -> dict[TP, int]:
        """Queries until the brokers answer: a recovery that began without these offsets would take an empty table as complete."""
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
        """The topic's number of partitions; None where the topic is unknown."""
        return len(self.kafka.partitions_for_topic(topic) or ()) or None


def _boottime_clock_s() -> float:
    """A clock in seconds that also advances while the machine is suspended, where the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _to_faust(tps: Iterable[TopicPartition]) -> set[TP]:
    return {TP(tp.topic, tp.partition) for tp in tps}


class KafkaTransport(faust_base.Transport):
    """The transport to the Kafka of `options`."""

    Consumer: ClassVar[type[ConsumerT]] = FaustKafkaConsumer
    Producer: ClassVar[type[ProducerT]] = FaustKafkaProducer
    driver_version = SCHEME

    def __init__(self, url: list[URL], app: AppT, options: KafkaOptions) -> None:
        super().__init__(url, app)
        self.options = options
