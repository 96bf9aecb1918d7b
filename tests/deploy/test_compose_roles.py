"""The services of compose.yaml as processes on real servers: their commands and environment, secrets, health checks, metrics.

No container engine runs here. What a container has to itself is put in its place: names of hosts, ports, the folders of secrets
and data. All else is as the file has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt
import psycopg
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.deploy.deploy_tools import COMPOSE, DEPLOY, ours, services
from tests.support.server_process import dies_with_its_parent, free_port, until
from tests.support.servers import InfluxOfTest, Kafka, PostgresOfTest

READY_S_MAX = 90.0
PARTITIONS = "4"
PORTS = ("STARLOOP_HEALTH_PORT", "STARLOOP_MQTT_PORT", "STARLOOP_HTTP_PORT")


class Stage:
    """Where the services of the file run here."""

    def __init__(self, folder: Path, kafka: Kafka, postgres: PostgresOfTest, influx: InfluxOfTest) -> None:
        self.folder = folder
        self.services = ours(services(COMPOSE, STARLOOP_PARTITIONS=PARTITIONS))
        self._prefix = f"{kafka.prefix()}-"
        self.secrets = folder / "secrets"
        subprocess.run([DEPLOY / "make-secrets", self.secrets], check=True, capture_output=True)
        (self.secrets / "influx-token").write_text(influx.token)
        shutil.copytree(DEPLOY / "fleet", folder / "fleet")
        place = postgres.url.partition("@")[2]
        self.moved = {
            "kafka://kafka:9092": f"kafka://{kafka.bootstrap}",
            "@postgres:5432/starloop": f"@{place}",
            "http://influxdb:8086": influx.url,
            "/run/secrets/": f"{self.secrets}/",
            "/etc/starloop": str(folder / "fleet"),
        }
        self.bucket = influx.bucket

    def environment(self, name: str, instance: str) -> dict[str, str]:
        """That of a service, moved here."""
        given: Mapping[str, str] = self.services[name]["environment"]
        found = {key: self._here(value) for key, value in given.items()}
        found |= {key: str(free_port()) for key in PORTS}
        found |= {"STARLOOP_LOG_PREFIX": self._prefix, "STARLOOP_DATA_DIR": str(self.folder / instance)}
        if "STARLOOP_INFLUX_BUCKET" in found:
            found["STARLOOP_INFLUX_BUCKET"] = self.bucket
        return found

    def command(self, name: str) -> list[str]:
        """That of a service, moved here."""
        return [sys.executable, "-m", "starloop", *(self._here(one) for one in self.services[name]["command"])]

    def _here(self, text: str) -> str:
        for there, here in self.moved.items():
            text = text.replace(there, here)
        return text


class Running:
    """A service as a process; its environment, and what it said."""

    def __init__(self, stage: Stage, name: str, instance: str) -> None:
        self.environment = stage.environment(name, instance)
        self.log = stage.folder / f"{instance}.log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [*dies_with_its_parent(), *stage.command(name)],
                env={**os.environ, **self.environment}, stdout=file, stderr=file,
            )  # fmt: skip

    def ready(self) -> bool:
        """Whether it said so."""
        assert self.process.poll() is None, self.log.read_text()[-3_000:]
        return "is ready" in self.log.read_text()


@contextmanager
def running(stage: Stage, *names: str) -> Iterator[dict[str, Running]]:
    """Services, with their replicas, while the block runs. They stop by themselves, within their time, when told to."""
    roles: dict[str, Running] = {}
    try:
        for name in names:
            for number in range(stage.services[name].get("deploy", {}).get("replicas", 1)):
                instance = f"{name}-{number + 1}"
                roles[instance] = Running(stage, name, instance)
        yield roles
        for one in roles.values():
            assert one.process.poll() is None, one.log.read_text()[-3_000:]
            one.process.terminate()
        for one in roles.values():
            assert one.process.wait(timeout=35) == 0, one.log.read_text()[-3_000:]
    finally:
        for one in roles.values():
            one.process.kill()
            one.process.wait()


def lives(environment: Mapping[str, str]) -> bool:
    """What the container's health check says."""
    asked = subprocess.run([sys.executable, "-I", DEPLOY / "healthcheck.py"], env=dict(environment), check=False)
    return asked.returncode == 0


def test_the_services_of_compose_bring_a_reading_to_influx(
    kafka: Kafka, postgres: PostgresOfTest, influx: InfluxOfTest, tmp_path: Path
) -> None:
    """The fleet is applied, each role becomes healthy and ready and shows its metrics to the token only; a low tank becomes
    a forecast and an order in InfluxDB; all of them stop when they are told to."""
    stage = Stage(tmp_path, kafka, postgres, influx)
    applied = subprocess.run(
        stage.command("fleet"), env={**os.environ, **stage.environment("fleet", "fleet")},
        capture_output=True, text=True, timeout=READY_S_MAX, check=False,
    )  # fmt: skip
    assert applied.returncode == 0, applied.stderr
    with running(stage, "gate", "stream", "reactor", "console", "influx") as roles:
        until(lambda: all(one.ready() for one in roles.values()), READY_S_MAX, "not all services were ready")
        token = (stage.secrets / "metrics-token").read_text().strip()
        for instance, one in roles.items():
            assert lives(one.environment), instance
            _watched(instance, one.environment, token)
        _publish(int(roles["gate-1"].environment["STARLOOP_MQTT_PORT"]))
        until(lambda: _in_influx(influx, 'SELECT last("q50") FROM "forecast"'), 60, "no forecast in InfluxDB")
        until(lambda: _in_influx(influx, 'SELECT last("price") FROM "reaction"'), 60, "no reaction in InfluxDB")


def _watched(instance: str, environment: Mapping[str, str], token: str) -> None:
    port = environment["STARLOOP_HTTP_PORT" if instance.startswith("console") else "STARLOOP_HEALTH_PORT"]
    address = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=address, trust_env=False, timeout=10) as client:
        until(lambda: client.get("/readyz").status_code == httpx.codes.OK, READY_S_MAX, f"{instance} was not ready")
        assert client.get("/metrics").status_code == httpx.codes.UNAUTHORIZED, instance
        shown = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        assert "starloop_build_info" in shown.text, instance


def _publish(port: int) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "tank-7")
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.publish("starloop/v1/tank-7/telemetry", b'{"values": {"oil": 92.5}}', qos=1).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def _in_influx(influx: InfluxOfTest, query: str) -> bool:
    answer = httpx.get(
        f"{influx.url}/query", params={"db": influx.bucket, "q": query},
        headers={"Authorization": f"Token {influx.token}"}, trust_env=False, timeout=10,
    )  # fmt: skip
    results: list[dict[str, Any]] = answer.json()["results"]
    return any(one.get("series") for one in results)


def test_the_database_password_comes_from_its_file(
    postgres: PostgresOfTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq takes what the URL of STARLOOP_STORE leaves out from the file that the services are given."""
    subprocess.run([DEPLOY / "make-secrets", tmp_path / "secrets"], check=True, capture_output=True)
    environment = services(COMPOSE)["stream"]["environment"]
    monkeypatch.setenv("PGSERVICE", environment["PGSERVICE"])
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "secrets" / "postgres-service"))
    with psycopg.connect(postgres.url.replace("+psycopg", "")) as connection:
        assert connection.info.user == "starloop"
        assert connection.info.password == (tmp_path / "secrets" / "postgres-password").read_text().strip()


def test_a_service_says_what_it_waits_for(tmp_path: Path) -> None:
    """Started before its servers it does not end: it waits, and its log says for what."""
    environment = services(COMPOSE)["stream"]["environment"]
    moved = {
        "STARLOOP_LOG": f"kafka://127.0.0.1:{free_port()}",
        "STARLOOP_STORE": "sqlite",
        "STARLOOP_PROFILE_DIRS": "[]",
    }
    moved |= {"STARLOOP_DATA_DIR": str(tmp_path), "STARLOOP_METRICS_TOKEN_FILE": "", "STARLOOP_STOP_S": "2"}
    known = {name: value for name, value in {**environment, **moved}.items() if value and not name.startswith("PG")}
    command = [*dies_with_its_parent(), sys.executable, "-m", "starloop", "run", "stream"]
    log = tmp_path / "said.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env={**os.environ, **known}, stdout=file, stderr=file)
    try:
        until(lambda: "waiting_for" in log.read_text(), 60, "it says nothing")
        begun_s = time.monotonic()
        process.terminate()
        assert process.wait(timeout=35) == 0
        assert time.monotonic() - begun_s < 35
    finally:
        process.kill()
        process.wait()
