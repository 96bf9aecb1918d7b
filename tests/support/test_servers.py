"""The servers that other tests run against are real, work, and keep their data over a restart."""

from __future__ import annotations

import asyncio
import queue
import shutil
import subprocess
import sys
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import create_engine, text

from tests.support.server_process import listens, until
from tests.support.servers import SCRIPTS, InfluxOfTest, Kafka, Mosquitto, PostgresOfTest


async def _produce(kafka: Kafka, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        await producer.send_and_wait(topic, value)


async def _consumed(kafka: Kafka, topic: str, records: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", group_id=topic)
    async with consumer, asyncio.timeout(30):
        return [(await consumer.getone()).value for _ in range(records)]


@pytest.mark.parametrize("how", ["term", "kill"])
async def test_kafka_keeps_a_record_over_its_restart(kafka: Kafka, how: str) -> None:
    """What was produced before a stop, gentle or not, is consumed after it, together with what comes then."""
    topic = kafka.prefix()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    await _produce(kafka, topic, b"before")
    await asyncio.to_thread(kafka.restart, how)
    await _produce(kafka, topic, b"after")
    assert await _consumed(kafka, topic, 2) == [b"before", b"after"]


def test_influx_answers_with_the_point_that_was_written(influx: InfluxOfTest) -> None:
    """A point written before a restart is found after it, in the bucket of this test and by Flux."""
    with InfluxDBClient(influx.url, influx.token, org=influx.org) as client:
        client.write_api(write_options=SYNCHRONOUS).write(influx.bucket, record="reading,device=tank-7 value=4.5")
        influx.restart()
        tables = client.query_api().query(f'from(bucket: "{influx.bucket}") |> range(start: -1h)')
        assert [record.get_value() for table in tables for record in table.records] == [4.5]


@pytest.mark.parametrize("how", ["fast", "kill"])
def test_postgres_keeps_a_commit_over_its_restart(postgres: PostgresOfTest, how: str) -> None:
    """A row that was committed is there after the server was stopped, gently or not, and started."""
    engine = create_engine(postgres.url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id text)"))
        connection.execute(text("INSERT INTO orders VALUES ('tank-7/oil/3')"))
    engine.dispose()
    postgres.restart(how)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM orders")).scalars().all() == ["tank-7/oil/3"]
    engine.dispose()


def test_mosquitto_keeps_a_retained_message_over_its_restart(mosquitto: Mosquitto) -> None:
    """A message published before the restart reaches who subscribes after it."""
    publisher = mqtt.Client(CallbackAPIVersion.VERSION2)
    publisher.connect("127.0.0.1", mosquitto.port)
    publisher.loop_start()
    publisher.publish("tank-7", b"42", qos=1, retain=True).wait_for_publish(10)
    publisher.disconnect()
    publisher.loop_stop()
    mosquitto.restart()
    heard: queue.Queue[bytes] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda it, *_: it.subscribe("tank-7", qos=1)
    client.on_message = lambda _it, _with, message: heard.put(bytes(message.payload))
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    assert heard.get(timeout=10) == b"42"
    client.disconnect()
    client.loop_stop()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed: sudo apt install util-linux")
def test_a_server_dies_with_the_process_that_started_it() -> None:
    """A test run that is killed leaves no server behind it, and the next one removes its data."""
    script = (
        "import os, signal; from tests.support.servers import Mosquitto; server = Mosquitto(); server.start(); "
        "print(server.port, server.folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=SCRIPTS.parents[1], capture_output=True, text=True, check=False
    )
    port, folder = done.stdout.split()
    until(lambda: not listens(int(port)), 10, "the broker did not end")
    Mosquitto().close()
    assert not Path(folder).exists(), "the next server did not tidy up after it"
