"""Export and erasure of a customer of a real service: content of the zip, traces on disk, continued operation."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.publish as publish
import pytest
from click.testing import CliRunner, Result

from reactor.store.sql import SqlStore
from star.errors import InputError
from starloop.cli import cli
from tests.support.service_process import ServiceUnderTest, starloop

CUSTOMER = """
[[customers]]
id = "{who}"
experience = "auto"
consents = ["replenishment"]
[[devices]]
id = "tank-{who}"
customer = "{who}"
profile = "level-tank"
[devices.slots.oil]
capacity = 1500.0
pack = 500.0
suppliers = ["acme"]
"""
ACME = """
[[suppliers]]
id = "acme"
lead_time_days = [2.0, 5.0]
price = 610.0
"""
GONE, STAYS = "zephyrine", "maria"


def fleet(*customers: str) -> str:
    """A fleet file of customers with a tank each."""
    return "".join(CUSTOMER.format(who=who) for who in customers) + ACME


def run(*arguments: str) -> Result:
    """A command's result."""
    return CliRunner().invoke(cli, list(arguments))


def until(done: Any, what: str) -> None:
    """Waits for it."""
    end_s = time.monotonic() + 25
    while not done():
        assert time.monotonic() < end_s, what
        time.sleep(0.1)


@pytest.fixture
def service(tmp_path: Path, free_port: Any) -> ServiceUnderTest:
    """A running service with an order for each of two customers, bad payloads of both, and a choice of one said by HTTP."""
    service = ServiceUnderTest(tmp_path, free_port(), fleet(GONE, STAYS))
    messages = []
    for who in (GONE, STAYS):
        topic = f"starloop/v1/tank-{who}/telemetry"
        messages += [(topic, b'{"values": {"oil": 60.0, "temperature": 9.5}}', 1, False), (topic, b"{", 1, False)]
        messages.append((f"starloop/v1/tank-{who}/status", b"online", 1, True))
    publish.multiple(messages, hostname="127.0.0.1", port=service.port)
    running = service.running()
    until(lambda: len(running.get_json("/api/v1/reactions")["reactions"]) == 2, "an order for each")
    base = f"http://127.0.0.1:{running.http_port}/api/v1/customers/{GONE}"
    headers = {"authorization": f"Bearer {running.token}"}
    assert httpx.patch(base, json={"name": "Zephyrine Z"}, headers=headers, trust_env=False).status_code < 300
    outcome = {"id": "o1", "reaction": f"tank-{GONE}/oil/1/order/1", "result": "delivered", "quantity": 500.0}
    outcome["feedback"] = {"text": "merci de Zephyrine"}
    topic = f"starloop/v1/tank-{GONE}/outcomes"
    publish.single(topic, json.dumps(outcome), qos=1, hostname="127.0.0.1", port=service.port)
    until(lambda: _results(service) == ["delivered"], "the delivery is taken in")
    return service


def _results(service: ServiceUnderTest) -> list[str]:
    with SqlStore(f"sqlite:///{service.data / 'store.db'}") as store:
        return [row.result for row in store.reactions() if row.result is not None]


def holders(folder: Path, name: str) -> list[str]:
    """Files that contain the name, ignoring case."""
    return sorted(
        path.name for path in folder.rglob("*") if path.is_file() and name.lower().encode() in path.read_bytes().lower()
    )


def test_a_customers_data_is_handed_out_whole_and_nothing_of_others(service: ServiceUnderTest, tmp_path: Path) -> None:
    """From a running service: readings, bad payload, need, receipts, reaction with outcome, settings."""
    out = tmp_path / "out.zip"
    done = run("export", GONE, "--data", str(service.data), "--out", str(out), "--json")
    assert done.exit_code == 0, done.output
    assert service.stop() == 0
    with zipfile.ZipFile(out) as zipped:
        files = {name: zipped.read(name).decode() for name in zipped.namelist()}
    manifest = json.loads(files["manifest.json"])
    assert manifest["devices"] == [f"tank-{GONE}"]
    assert {name for name, file in manifest["files"].items() if not file["rows"]} <= {"forecasts.jsonl"}
    assert '"oil":60.0' in files["input.jsonl"]
    assert "merci de Zephyrine" in files["input.jsonl"]
    assert '"result": "delivered"' in files["reactions.jsonl"]
    assert "Zephyrine Z" in files["settings.json"]
    assert [name for name, text in files.items() if STAYS in text] == []


def test_an_erased_customer_is_nowhere_on_the_disk_and_the_service_goes_on(
    service: ServiceUnderTest, tmp_path: Path
) -> None:
    """No file contains their name, device or text; the service starts, has the other customer, replays and orders."""
    assert isinstance(run("erase", GONE, "--data", str(service.data), "--yes").exception, InputError)  # it runs
    assert service.stop() == 0
    reactions = [line for line in service.reactions() if GONE.encode() not in line]
    assert holders(service.data, GONE)
    done = run("erase", GONE, "--data", str(service.data), "--yes", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["log"]["input"] >= 2
    assert any("fleet file" in line for line in said["remains"])
    assert holders(service.data, GONE) == []
    assert service.reactions() == reactions

    (tmp_path / "fleet.toml").write_text(fleet(STAYS))
    service.start()
    item = service.running().get_json(f"/api/v1/items/tank-{STAYS}/oil")
    assert item["forecast"]["level"] == pytest.approx(60.0, abs=1.0)
    assert len(service.running().get_json("/api/v1/items?limit=10")["items"]) == 1
    topic = f"starloop/v1/tank-{STAYS}/outcomes"
    outcome = {"id": "o2", "reaction": f"tank-{STAYS}/oil/1/order/1", "result": "delivered", "quantity": 500.0}
    publish.single(topic, json.dumps(outcome), qos=1, hostname="127.0.0.1", port=service.port)
    until(lambda: _results(service) == ["delivered"], "it goes on")
    assert service.stop() == 0
    assert service.reactions() == sorted(
        line for line in service.replayed(tmp_path, "reactions") if b'"starloop.' in line
    )
    assert holders(service.data, GONE) == []
    assert "no such customer" in str(run("erase", GONE, "--data", str(service.data), "--yes").exception)


def test_after_a_kill_the_erased_state_is_rebuilt_from_the_log_that_is_left(
    service: ServiceUnderTest, tmp_path: Path
) -> None:
    """Killed without a last checkpoint: records of theirs that were not yet in it are read again, and say nothing."""
    service.kill()
    done = run("erase", GONE, "--data", str(service.data), "--yes")
    assert done.exit_code == 0, done.output
    assert "remains: backups" in done.stdout
    (tmp_path / "fleet.toml").write_text(fleet(STAYS))
    service.start()
    assert service.running().get_json(f"/api/v1/items/tank-{STAYS}/oil")["forecast"]["level"] == pytest.approx(
        60.0, abs=1.0
    )
    assert service.stop() == 0
    assert holders(service.data, GONE) == []


def test_erase_asks_for_confirmation_first(service: ServiceUnderTest) -> None:
    """Without --yes and without a response nothing is erased."""
    assert service.stop() == 0
    before = starloop("log", "export", "--data", str(service.data))
    assert CliRunner().invoke(cli, ["erase", GONE, "--data", str(service.data)], input="n\n").exit_code == 1
    assert starloop("log", "export", "--data", str(service.data)) == before
