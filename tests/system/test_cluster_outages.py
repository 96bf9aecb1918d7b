"""Outages of servers and roles: the service keeps working as far as possible, loses nothing, and reports the cause."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import paho.mqtt.publish as publish
import pytest

from tests.support.grafana_queries import InfluxServer, panel_queries, queries_without_data, variable_values
from tests.support.role_cluster import Cluster, until

FLEET = """
[[suppliers]]
id = "acme"
lead_time_days = [2.0, 5.0]
price = 20.0
[[customers]]
id = "maria"
experience = "auto"
consents = ["replenishment"]
[[devices]]
id = "tank-7"
customer = "maria"
profile = "level-tank"
[devices.slots.oil]
capacity = 1500.0
pack = 1000.0
suppliers = ["acme"]
stockout_cost = 100.0
"""
ORDER = "tank-7/oil/1/order/1"


@pytest.fixture
def cluster(tmp_path: Path, kafka: Any, postgres: Any, influx: Any, free_port: Callable[[], int]) -> Iterator[Cluster]:
    cluster = Cluster(
        tmp_path,
        FLEET,
        kafka.bootstrap,
        kafka.prefix(),
        postgres.url,
        STARLOOP_MQTT_PORT=str(free_port()),
        STARLOOP_INFLUX_URL=influx.url,
        STARLOOP_INFLUX_ORG=influx.org,
        STARLOOP_INFLUX_BUCKET=influx.bucket,
        STARLOOP_INFLUX_TOKEN=influx.token,
        STARLOOP_INFLUX_READINGS="all",
    )
    cluster.command("fleet", "apply", str(cluster.fleet))
    for role in ("gate", "stream", "reactor", "influx", "console"):
        cluster.run(role)
    for one in cluster.roles.values():
        one.wait_ready()
    yield cluster
    cluster.stop()


def say(cluster: Cluster, level: float, at: float) -> None:
    """Publishes a reading, acknowledged on return."""
    publish.single(
        "starloop/v1/tank-7/telemetry",
        json.dumps({"at": at, "values": {"oil": level}}),
        qos=1,
        hostname="127.0.0.1",
        port=int(cluster.environment["STARLOOP_MQTT_PORT"]),
    )


def use_up(cluster: Cluster, from_days: float, to_days: float, now: float) -> None:
    """Sixty litres a day, from so many days ago to so many; 1,500 thirty days ago."""
    day = from_days
    while day >= to_days:
        say(cluster, 1500.0 - 50.0 * (30.0 - day), now - day * 86_400)
        day -= 0.5


def ids(cluster: Cluster) -> list[str]:
    return [orjson.loads(line)["id"] for line in cluster.reactions()]


def points(cluster: Cluster, influx: Any) -> int:
    """How many readings InfluxDB has."""
    query = f'from(bucket: "{influx.bucket}") |> range(start: -60d) |> filter(fn: (r) => r._measurement == "reading") |> count()'
    answer = httpx.post(
        f"{influx.url}/api/v2/query",
        params={"org": influx.org},
        headers={"Authorization": f"Token {influx.token}", "Content-Type": "application/vnd.flux"},
        content=query,
        trust_env=False,
        timeout=10.0,
    )
    rows = [line.split(",") for line in answer.text.splitlines() if line.strip()]
    return sum(int(row[rows[0].index("_value")]) for row in rows[1:] if row[rows[0].index("_value")].isdigit())


def test_postgres_and_influx_away_lose_nothing_and_are_named_by_all_who_are_asked(
    cluster: Cluster, postgres: Any, influx: Any
) -> None:
    """While both are away readings are acknowledged and analysed; readiness, metrics, doctor and the log say what is wrong;
    when they are back the order goes out once, and InfluxDB has every reading."""
    now = time.time()
    use_up(cluster, 30.0, 20.0, now)
    until(lambda: points(cluster, influx) == 21, 60.0, lambda: f"{points(cluster, influx)} readings in InfluxDB")
    reactor, sink = cluster.roles["reactor"], cluster.roles["influx"]
    assert reactor.get("/readyz").status_code == 200
    postgres.stop("immediate")
    influx.stop("kill")
    use_up(cluster, 19.5, 1.0, now)

    until(lambda: reactor.get("/readyz").status_code == 503, 60.0, lambda: reactor.get("/readyz").text)
    why = {check["name"]: check["why"] for check in reactor.get("/readyz").json()["checks"] if not check["ok"]}
    assert "connection" in why["store"].lower()
    assert cluster.roles["gate"].get("/readyz").status_code == 200
    assert cluster.roles["stream"].get("/readyz").status_code == 200
    until(lambda: sink.get("/readyz").status_code == 503, 60.0, lambda: sink.get("/readyz").text)
    until(lambda: "starloop_influx_reachable 0.0" in sink.get("/metrics").text, 60.0, lambda: sink.get("/metrics").text)
    until(
        lambda: "starloop_store_reachable 0.0" in reactor.get("/metrics").text,
        60.0,
        lambda: reactor.get("/metrics").text,
    )
    doctor = cluster.ask_doctor()
    assert any("STARLOOP_STORE" in line for line in doctor), doctor
    assert any("influx" in line.lower() for line in doctor), doctor
    assert "put_off_commit" in reactor.log.read_text()

    postgres.start()
    influx.start()
    until(lambda: ids(cluster) == [ORDER], 90.0, lambda: f"{ids(cluster)}")
    until(lambda: points(cluster, influx) == 59, 90.0, lambda: f"{points(cluster, influx)} readings in InfluxDB")
    until(lambda: reactor.get("/readyz").status_code == 200, 30.0, lambda: reactor.get("/readyz").text)
    until(lambda: sink.get("/readyz").status_code == 200, 60.0, lambda: sink.get("/readyz").text)
    assert cluster.stop() == dict.fromkeys(cluster.roles, 0)


def test_without_the_console_the_loop_goes_on_and_it_comes_back_with_what_it_missed(cluster: Cluster) -> None:
    """Nothing waits for a killed console; restarted, it shows what happened meanwhile."""
    now = time.time()
    cluster.roles["console"].kill()
    use_up(cluster, 30.0, 1.0, now)
    until(lambda: ids(cluster) == [ORDER], 60.0, lambda: f"{ids(cluster)}")
    console = cluster.roles["console"].start_again().wait_ready()
    told = json.loads((cluster.folder / "console" / "service.json").read_text())
    headers = {"authorization": f"Bearer {told['token']}"}

    def shown() -> Any:
        answer = httpx.get(
            f"http://127.0.0.1:{told['http_port']}/api/v1/items/tank-7/oil", headers=headers, trust_env=False
        )
        return answer.json().get("forecast") or {}

    until(lambda: shown().get("level", 1500.0) < 200.0, 30.0, lambda: f"{shown()} {console.log.read_text()[-500:]}")


def test_the_service_dashboard_is_answered_with_what_the_roles_say_of_themselves(cluster: Cluster, influx: Any) -> None:
    """Every panel of the service dashboard finds data in InfluxDB. Rates want some minutes of it, and the model's drift a
    hundred judged forecasts: those are not waited for."""
    server = InfluxServer(url=influx.url, token=influx.token, bucket=influx.bucket)
    use_up(cluster, 30.0, 1.0, time.time())
    publish.single(
        "starloop/v1/tank-7/telemetry", b"no json", qos=1, port=int(cluster.environment["STARLOOP_MQTT_PORT"])
    )

    def missing() -> set[str]:
        with contextlib.suppress(AssertionError):  # the variables find nothing before the first figures are there
            queries = [query for query in panel_queries("service") if "derivative" not in query.text]
            asked = queries_without_data(server, queries, variable_values(server, "service"), round(time.time() * 1000))
            return {query.title for query in asked}
        return {"everything"}

    until(lambda: missing() <= {"Model drift"}, 180.0, lambda: f"without data: {missing()}")
