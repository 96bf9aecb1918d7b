"""`starloop doctor` in a cluster, with real servers and with each of them unavailable."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import NewTopic
from click.testing import CliRunner

from config.settings import Settings
from operations.diagnostics.finding import Finding
from operations.diagnostics.influx import influx_findings
from operations.diagnostics.kafka import TopicDescription, kafka_findings, lag_finding, offsets_finding, topic_findings
from operations.diagnostics.roles import role_finding, roles_findings
from operations.diagnostics.store import consumed_offsets, store_findings
from operations.observability.health import health_app, serve_health
from operations.observability.metrics import Meters
from reactor.store.sql import SqlStore
from reactor.unit_of_work import StepResult
from starloop.commands.inspect.doctor import command
from stream.topics import INPUT, topic_specs
from stream.transports.kafka_log.client import KafkaClient
from stream.transports.kafka_log.options import KafkaOptions, kafka_options
from stream.transports.log_client import Entry
from tests.support.delivery_fleet import fleet_of, reaction_of
from tests.support.servers import InfluxOfTest, Kafka, PostgresOfTest

AWAY = "127.0.0.1:9"
"""Nothing listens here."""


def of_name(findings: list[Finding], name: str) -> list[Finding]:
    """The findings of one thing."""
    return [one for one in findings if one.name == name]


def doctor(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit status, findings, and everything that was printed."""
    result = CliRunner().invoke(command, [*arguments, "--json"], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout)["findings"], result.output


def test_with_every_server_away_each_is_a_finding_with_its_remedy(tmp_path: Path) -> None:
    """Kafka, PostgreSQL, InfluxDB and a role: no stack trace, no password, exit status 1."""
    status, found, said = doctor(
        "--data",
        str(tmp_path),
        "--roles",
        f"http://{AWAY},{AWAY}",
        STARLOOP_LOG=f"kafka://{AWAY}",
        STARLOOP_STORE=f"postgresql+psycopg://starloop:hidden-word@{AWAY}/starloop",
        STARLOOP_INFLUX_URL=f"http://{AWAY}",
        STARLOOP_INFLUX_TOKEN="secret-token",
    )
    assert status == 1
    failed = {one["name"]: one for one in found if one["state"] == "fail"}
    assert {"kafka", "store", "influxdb", "role"} <= failed.keys()
    assert all(one["remedy"] for one in failed.values())
    assert "Traceback" not in said
    assert "hidden-word" not in said
    assert "secret-token" not in said


async def make_topics(options: KafkaOptions) -> KafkaClient:
    """The topics as a role makes them."""
    client = KafkaClient(options, topic_specs())
    await client.start()
    return client


@pytest.fixture
def on_kafka(kafka: Kafka, tmp_path: Path) -> Settings:
    """Settings with a log on the real Kafka; its topics and groups have names of the test's own."""
    return Settings(log=f"kafka://{kafka.bootstrap}", log_prefix=f"{kafka.prefix()}-", data_dir=tmp_path, partitions=3)


def test_a_fresh_kafka_is_fine_and_one_with_our_topics_too(on_kafka: Settings) -> None:
    """Before: no topics yet. After a role created them: their number and partitions, and no lag."""
    before = list(kafka_findings(on_kafka))
    assert [one.state for one in before] == ["ok", "ok"]
    assert "none exists yet" in before[1].said

    async def start() -> None:
        client = await make_topics(kafka_options(on_kafka))
        await client.stop()

    asyncio.run(start())
    after = list(kafka_findings(on_kafka))
    assert {one.state for one in after} == {"ok"}, after
    assert of_name(after, "topics")[0].said == f"{len(topic_specs())}: 3 partitions per customer topic, 1 replicas"


def test_records_without_a_consumer_are_reported_with_the_command_to_start(on_kafka: Settings) -> None:
    """Five records of input and no analysis: a warning that names `starloop run stream`."""

    async def write() -> None:
        client = await make_topics(kafka_options(on_kafka))
        await client.append([Entry(INPUT, 1, None, b"T{}")] * 5)
        await client.stop()

    asyncio.run(write())
    lags = of_name(list(kafka_findings(on_kafka)), "lag")
    assert [one.state for one in lags] == ["warn", "ok"]
    assert "5 records behind, 0 consumers" in lags[0].said
    assert "starloop run stream" in lags[0].remedy


def test_a_store_that_is_ahead_of_kafka_is_found(on_kafka: Settings) -> None:
    """The store has consumed record 7 of an empty log: both must be restored from the same time."""
    with SqlStore(f"sqlite:///{on_kafka.data_dir}/store.db") as store:
        store.commit(StepResult(offset=7, at_ms=1, reactions=(reaction_of(),)), fleet_of())

    async def start() -> None:
        client = await make_topics(kafka_options(on_kafka))
        await client.stop()

    asyncio.run(start())
    (found,) = of_name(list(kafka_findings(on_kafka)), "store and log")
    assert found.state == "fail"
    assert "partition 0: the store has consumed record 7, the log ends at 0" in found.said


def test_topics_that_others_made_differently_are_each_named(on_kafka: Settings) -> None:
    """A wrong number of partitions and a wrong cleanup policy, with remedies; missing topics are counted."""

    async def make() -> None:
        options = kafka_options(on_kafka)
        async with options.admin() as admin:
            names = [("facts", 2, "delete"), (INPUT, 3, "compact")]
            topics = [
                NewTopic(options.topic_name(name), count, 1, topic_configs={"cleanup.policy": policy})
                for name, count, policy in names
            ]
            await admin.create_topics(topics)

    asyncio.run(make())
    found = of_name(list(kafka_findings(on_kafka)), "topics")
    said = " / ".join(one.said for one in found)
    assert "facts has 2 partitions: expected 3" in said
    assert "input has cleanup.policy 'compact': expected 'delete'" in said
    assert "more are missing" in said


def test_brokers_that_are_missing_show_in_the_topics() -> None:
    """A partition without leader fails; replicas out of sync or too few are warnings."""
    options = KafkaOptions(brokers=("k:9092",), replication=3)
    (spec,) = [one for one in topic_specs() if one.name == INPUT]

    def states(**fields: int) -> list[str]:
        topic = TopicDescription(
            **{"partitions": 32, "replicas": 3, "in_sync_replicas": 3, "leaderless": 0, **fields},
            cleanup_policy="delete",
        )
        return [one.state for one in topic_findings(options, [spec], {"starloop-input": topic})]

    assert states() == ["ok"]
    assert states(leaderless=1) == ["fail"]
    assert states(in_sync_replicas=2) == ["warn"]
    assert states(replicas=1, in_sync_replicas=1) == ["warn"]


def test_lag_without_consumers_or_very_large_is_a_warning() -> None:
    """Lag without consumers: start one. Large lag with consumers: wait or add one. Otherwise ok."""
    who = "the reactor: starloop run react"
    assert lag_finding("g", 0, 0, who).state == lag_finding("g", 500, 1, who).state == "ok"
    assert lag_finding("g", 1, 0, who).remedy == "start starloop run react"
    assert lag_finding("g", 50_000, 2, who).state == "warn"
    assert offsets_finding({0: 4}, {0: 5, 1: 10}).said == "10 records behind"


def test_a_postgresql_that_is_not_set_up_yet_or_is_names_its_version(postgres: PostgresOfTest, tmp_path: Path) -> None:
    """Empty: the first start migrates it. Migrated: server and schema are named, and what it consumed can be read."""
    settings = Settings(store=postgres.url, log="kafka://elsewhere", data_dir=tmp_path)
    assert [one.state for one in store_findings(settings)] == ["warn"]
    assert consumed_offsets(settings) == {}
    with SqlStore(postgres.url) as store:
        store.commit(StepResult(offset=7, at_ms=1, reactions=(reaction_of(),)), fleet_of())
    found = list(store_findings(settings))
    assert found[0].state == "ok"
    assert found[0].said.startswith("postgresql ")
    assert "responds, schema" in found[0].said
    assert consumed_offsets(settings) == {0: 7}
    assert not of_name(found, "store and log")


def test_influxdb_is_fine_only_with_a_token_that_may_write(influx: InfluxOfTest, tmp_path: Path) -> None:
    """Right: ok. A wrong token, a bucket that is not there: failures that name the setting, and never the token."""
    (tmp_path / "token").write_text(influx.token)
    right: dict[str, Any] = {
        "influx_url": influx.url,
        "influx_org": influx.org,
        "influx_bucket": influx.bucket,
        "influx_token_file": tmp_path / "token",
    }
    assert [one.state for one in influx_findings(Settings(**right))] == ["ok"]
    (wrong,) = influx_findings(Settings(**{**right, "influx_token_file": None, "influx_token": "not-the-token"}))
    assert wrong.state == "fail"
    assert "STARLOOP_INFLUX_TOKEN_FILE" in wrong.said
    assert "not-the-token" not in wrong.said
    (bucket,) = influx_findings(Settings(**{**right, "influx_bucket": "elsewhere"}))
    assert "STARLOOP_INFLUX_BUCKET" in bucket.said
    assert list(influx_findings(Settings())) == []


async def test_roles_are_asked_and_say_why_they_are_not_ready() -> None:
    """One that is ready, one that names what is in the way, one address that is something else."""
    ready = health_app(Meters("gate"), {"log": lambda: None})
    not_ready = health_app(Meters("react"), {"store": lambda: "connection refused", "log": lambda: None})
    async with serve_health(ready, "127.0.0.1", 0) as one, serve_health(not_ready, "127.0.0.1", 0) as two:
        urls = [f"127.0.0.1:{one}", f"http://127.0.0.1:{two}/"]
        found = await asyncio.to_thread(lambda: list(roles_findings(urls, Settings())))
    assert [finding.state for finding in found] == ["ok", "fail"]
    assert "(gate) is ready" in found[0].said
    assert "(react) is not ready: store: connection refused" in found[1].said
    assert role_finding("http://[not-an-address").state == "fail"


def test_an_address_or_a_file_that_can_not_be_is_said_and_not_raised(tmp_path: Path) -> None:
    """A log without a broker, a password file that is missing, a store in no known words."""
    (log,) = kafka_findings(Settings(log="kafka://"))
    assert (log.name, log.state) == ("kafka", "fail")
    (file,) = kafka_findings(Settings(log=f"kafka://{AWAY}", kafka_password_file=tmp_path / "none"))
    assert "STARLOOP_KAFKA_PASSWORD_FILE" in file.said
    (store,) = store_findings(Settings(store="postgres at home", data_dir=tmp_path))
    assert store.state == "fail"
