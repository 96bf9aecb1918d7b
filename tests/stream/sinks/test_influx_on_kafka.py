"""The sink on the real Kafka: members share the partitions, and a group can be rewound."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from config.profile_schema import RawReadingsMode
from star.records import encode
from star.sense import Readings
from stream.sinks.influx_sink import TOPICS, InfluxSink
from stream.sinks.options import InfluxOptions
from stream.topics import FORECASTS, INPUT, topic_specs
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.kafka_log.options import KafkaOptions
from stream.transports.log_client import Entry
from tests.stream.analysis_bench import NamesInMemory, single_customer_fleet, tank
from tests.stream.sinks.rig import AT_MS, InfluxQueries, eventually, forecast, running
from tests.support.servers import InfluxOfTest, Kafka

PARTITIONS = 2


@pytest.fixture
async def client(kafka: Kafka) -> AsyncIterator[KafkaClient]:
    """Two partitions of each topic."""
    one = KafkaClient(
        KafkaOptions(brokers=(kafka.bootstrap,), partitions=PARTITIONS, prefix=f"{kafka.prefix()}-"), topic_specs()
    )
    await one.start()
    yield one
    await one.stop()


class Written:
    """Readings in both partitions, and sinks that write them."""

    def __init__(self, client: KafkaClient, influx: InfluxOfTest) -> None:
        self.client = client
        self.names = NamesInMemory()
        self.catalogue = single_customer_fleet([tank("tank-0"), tank("tank-1")])
        self.options = InfluxOptions(
            url=influx.url, org=influx.org, bucket=influx.bucket, token=influx.token, readings=RawReadingsMode.ALL,
            group=f"{client.options.prefix}influx", flush_interval_s=0.05,
        )  # fmt: skip

    def sink(self) -> InfluxSink:
        """A member of the group."""
        return InfluxSink(self.client, self.options, names=self.names, catalogue=lambda: self.catalogue)

    async def append(self, first: int, count: int) -> None:
        """Appends `count` readings to each partition, one per record, and a forecast."""
        entries = []
        for partition in range(PARTITIONS):
            number = self.names.number(f"tank-{partition}/oil")
            for at in range(first, first + count):
                readings = Readings.from_rows([(number, AT_MS + at, AT_MS + at, float(at), -1, -1)])
                entries.append(Entry(INPUT, partition, None, encode(readings)))
            one = forecast(f"tank-{partition}/oil", AT_MS + first)
            entries.append(Entry(FORECASTS, partition, None, json.dumps([one]).encode()))
        await self.client.append(entries)

    async def caught_up(self) -> None:
        """Whether every record is committed."""

        async def committed() -> bool:
            return not any((await self.client.lag(self.options.group, TOPICS)).values())

        await eventually(committed, "the sinks did not catch up", 60.0)


async def test_two_members_share_the_partitions_and_one_takes_over_from_the_other(
    client: KafkaClient, influx: InfluxOfTest, asking: InfluxQueries
) -> None:
    """Every reading is stored once, whichever member wrote it."""
    written = Written(client, influx)
    async with running(written.sink()):
        await written.append(0, 50)
        async with running(written.sink()):
            await written.append(50, 50)
            await written.caught_up()
            await written.append(100, 50)
        await written.append(150, 50)
        await written.caught_up()
    found = {(row["device"], row["time"] - AT_MS): row["value"] for row in asking.influxql("SELECT * FROM reading")}
    assert found == {(f"tank-{n}", at): at for n in range(PARTITIONS) for at in range(200)}
    assert len(asking.influxql("SELECT * FROM forecast")) == 8


async def test_a_group_on_kafka_is_rewound_to_the_oldest_record(
    client: KafkaClient, influx: InfluxOfTest, asking: InfluxQueries
) -> None:
    """Then every record is written again, into an emptied bucket."""
    written = Written(client, influx)
    await written.append(0, 20)
    async with running(written.sink()):
        await written.caught_up()
    before = asking.everything()
    span = {"start": "1970-01-01T00:00:00Z", "stop": "2100-01-01T00:00:00Z"}
    asking.api("POST", "delete", params={"org": influx.org, "bucket": influx.bucket}, json=span)
    await written.sink().rewind()
    assert sum((await client.lag(written.options.group, TOPICS)).values()) == 42
    async with running(written.sink()):
        await written.caught_up()
    assert asking.everything() == before
    assert len(before) == 42
