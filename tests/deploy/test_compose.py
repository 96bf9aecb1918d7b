"""deploy/compose.yaml as Compose's own loader reads it, and what stands beside it: no engine runs here, so no image was started."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from config.settings import Settings
from starloop.cli import cli
from tests.deploy.deploy_tools import (
    COMPOSE,
    COMPOSE_TLS,
    DEPLOY,
    NOT_OURS,
    ROOT,
    SETTINGS,
    named_settings,
    ours,
    services,
)
from tests.support.server_process import free_port, until
from tests.support.servers import VERSIONS, Mosquitto

TEXTS = [
    path
    for path in sorted(DEPLOY.rglob("*"))
    if path.is_file() and path.suffix in {".yaml", ".tpl", ".json", ".service", ".env", ".txt", ""}
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_setting_that_deploy_names_is_one(path: Path) -> None:
    """A variable that looks like a setting, and is none, would be ignored without a word."""
    assert named_settings(path.read_text()) <= SETTINGS | NOT_OURS


@pytest.mark.parametrize("files", [(COMPOSE,), (COMPOSE, COMPOSE_TLS)], ids=["loopback", "tls"])
def test_the_settings_of_each_service_are_taken(files: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings.read() takes each one's environment as it stands, and none names an unknown variable."""
    for name, one in ours(services(*files)).items():
        given = {key: value for key, value in one["environment"].items() if key.startswith("STARLOOP_")}
        assert set(given) <= SETTINGS, name
        with monkeypatch.context() as patch:
            for key, value in given.items():
                patch.setenv(key, value)
            assert Settings.read().log == "kafka://kafka:9092"


def test_every_role_has_a_service_with_a_command_that_is_there() -> None:
    """`starloop run ROLE …` and `fleet apply` of each service are commands, with options that they know."""
    found = ours(services(COMPOSE))
    assert set(found) == {"fleet", "gate", "stream", "reactor", "console", "influx", "edge"}
    for one in found.values():
        command = [*one["command"], "--help"]
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
    assert found["stream"]["deploy"]["replicas"] == 2


def test_nothing_is_published_beyond_loopback_unless_it_is_asked_for() -> None:
    """By default every port is this machine's only; compose.tls.yaml opens the gate and the console, with TLS and credentials."""
    closed = {
        name: {port["host_ip"] for port in one["ports"]} for name, one in services(COMPOSE).items() if "ports" in one
    }
    assert set(closed) >= {"gate", "console", "grafana", "prometheus", "influxdb"}
    assert {host for hosts in closed.values() for host in hosts} == {"127.0.0.1"}
    opened = services(COMPOSE, COMPOSE_TLS)
    wide = {name for name, one in opened.items() for port in one.get("ports", []) if port.get("host_ip") != "127.0.0.1"}
    assert wide == {"gate", "console"}
    for name in wide:
        environment = opened[name]["environment"]
        assert environment["STARLOOP_INSECURE"] == "false"
        assert {"STARLOOP_TLS_CERT", "STARLOOP_TLS_KEY", "STARLOOP_MQTT_CREDENTIALS"} <= set(environment)


def test_no_password_stands_in_a_file() -> None:
    """Passwords and tokens are files that deploy/make-secrets makes; whatever a service is told of them is a path."""
    for name, one in services(COMPOSE, COMPOSE_TLS).items():
        for key, value in one.get("environment", {}).items():
            if re.search("PASSWORD|TOKEN|SECRET", key) and "AUTO_CREATE" not in key:
                assert value.startswith("/run/secrets/"), (name, key)
                secret = value.removeprefix("/run/secrets/")
                assert secret in {given["source"] for given in one["secrets"]}, (name, key)


def test_the_secrets_are_made_once_and_for_their_owner(tmp_path: Path) -> None:
    """The script makes each secret that compose.yaml names, and leaves alone what is there."""
    folder = tmp_path / "secrets"
    named = {
        path.name for path in (Path(one["file"]) for one in yaml.safe_load(COMPOSE.read_text())["secrets"].values())
    }
    for _ in range(2):
        subprocess.run([DEPLOY / "make-secrets", folder], check=True, capture_output=True)
        made = {path.name: path.read_text() for path in folder.iterdir()}
        assert set(made) == named
    assert folder.stat().st_mode & 0o777 == 0o700
    assert made["postgres-service"] == f"[starloop]\npassword={made['postgres-password']}"
    before = made
    subprocess.run([DEPLOY / "make-secrets", folder], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == before
    assert len(made["metrics-token"].strip()) >= 16


def test_every_service_is_bounded_and_comes_back() -> None:
    """Limits of memory and processors, a restart policy, no more rights than needed; our own write to their data folder only."""
    found = services(COMPOSE)
    for name, one in found.items():
        limits = one["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= set(limits), name
        assert one["restart"] in {"unless-stopped", "on-failure:5"}, name
        assert "no-new-privileges:true" in one["security_opt"], name
        assert one["logging"]["options"]["max-size"], name
    for name, one in ours(found).items():
        assert one["read_only"], name
        assert one["cap_drop"] == ["ALL"], name
        assert one["stop_grace_period"] == "35s"  # STARLOOP_STOP_S, at most 30 s, and a margin
        places = [volume["target"] for volume in one["volumes"]] + [place.split(":")[0] for place in one["tmpfs"]]
        assert {"/var/lib/starloop", "/tmp"} <= set(places), name
    assert all("healthcheck" in one for name, one in found.items() if name not in ours(found))


def test_who_keeps_names_and_disks_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions, the webhooks' secret and the console's sign-ins outlive a container; an instance's name does not change."""
    found = services(COMPOSE)
    for name in ("gate", "reactor", "console"):
        assert any(one["type"] == "volume" and one["target"] == "/var/lib/starloop" for one in found[name]["volumes"])
    assert found["gate"]["environment"]["STARLOOP_INSTANCE"] == "gate-1"
    assert found["edge"]["environment"]["STARLOOP_INSTANCE"] == "edge-1"


def test_the_servers_are_those_that_the_tests_run_against() -> None:
    """Kafka and InfluxDB of the versions in scripts/servers, Grafana of its schema's."""
    images = {name: one["image"] for name, one in services(COMPOSE).items()}
    assert images["kafka"].endswith(f"/kafka:{VERSIONS['KAFKA_VERSION']}")
    assert images["influxdb"].endswith(f"/influxdb:{VERSIONS['INFLUX_VERSION']}")
    assert images["grafana"].endswith(f"/grafana:{VERSIONS['GRAFANA_SCHEMA_VERSION']}")


def test_what_is_mounted_is_there() -> None:
    """Every file and folder of this repository that a service is given."""
    for one in services(COMPOSE, COMPOSE_TLS).values():
        for volume in one.get("volumes", []):
            if volume["type"] == "bind":
                assert Path(volume["source"]).exists(), volume
    done = CliRunner().invoke(cli, ["check", str(DEPLOY / "fleet" / "fleet.toml")])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("targets", ["targets.yaml", "targets-tls.yaml"])
def test_prometheus_takes_its_configuration_and_scrapes_every_role(targets: str, promtool: str, tmp_path: Path) -> None:
    """promtool's check; the job's name and its label `role` are those that the rules rest on; no role is left out."""
    folder = DEPLOY / "prometheus"
    (tmp_path / "metrics-token").write_text("0123456789abcdef")
    config = (
        (folder / "prometheus.yaml").read_text().replace("/run/secrets/metrics-token", str(tmp_path / "metrics-token"))
    )
    (tmp_path / "prometheus.yaml").write_text(config)
    (tmp_path / "rules.yaml").write_text((folder / "rules.yaml").read_text())
    (tmp_path / "targets.yaml").write_text((folder / targets).read_text())
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = yaml.safe_load(config)["scrape_configs"]
    assert job["job_name"] == "starloop"
    by_name = {name for one in job["dns_sd_configs"] for name in one["names"]}
    by_file = {one["labels"]["role"] for one in yaml.safe_load((folder / targets).read_text())}
    assert by_name | by_file == set(ours(services(COMPOSE))) - {"fleet"}
    relabelled = {one["target_label"]: one["source_labels"] for one in job["relabel_configs"]}
    assert relabelled == {"role": ["__meta_dns_name"]}


class _Configured(Mosquitto):
    """Mosquitto with the configuration of deploy/, at a port and in a folder of the test's own."""

    def __init__(self) -> None:
        super().__init__()
        text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
        text = text.replace("listener 1883", f"listener {self.port} 127.0.0.1").replace(
            "/mosquitto/data", str(self.folder)
        )
        self._config.write_text(f"{text}user root\n")


def test_mosquitto_takes_its_configuration() -> None:
    """A real mosquitto starts with it."""
    server = _Configured()
    try:
        server.start()
        assert server.runs
    finally:
        server.stop("kill")


def test_kafka_starts_with_the_settings_of_its_container(tmp_path: Path) -> None:
    """The environment, turned into properties by the image's own program, formats a disk and starts a real Kafka."""
    from tests.deploy.kafka_image import started

    environment: dict[str, Any] = services(COMPOSE)["kafka"]["environment"]
    with started(environment, tmp_path, free_port(), free_port()) as said:
        until(lambda: "Kafka Server started" in said(), 90, f"no Kafka started: {said()[-2_000:]}")


def test_the_ignored_secrets_are_where_compose_looks_for_them() -> None:
    """deploy/secrets is never part of a commit."""
    done = subprocess.run(
        ["git", "check-ignore", "deploy/secrets/influx-token"],
        cwd=ROOT,
        capture_output=True,
        env=os.environ,
        check=False,
    )
    if done.returncode == 128:
        pytest.skip("this is no git checkout")
    assert done.returncode == 0
