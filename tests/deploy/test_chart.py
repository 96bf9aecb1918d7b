"""The Helm chart, rendered by Helm's own client and held to Kubernetes' own schemas; no cluster runs here."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from config.settings import Settings
from starloop.cli import cli
from tests.deploy.deploy_tools import (
    CHART,
    DEPLOY,
    KUBERNETES,
    NOT_OURS,
    SETTINGS,
    check_object,
    helm,
    rendered,
    template,
)

WORKLOADS = {"Deployment", "StatefulSet", "Job"}
WHOLE = "full"


def workloads(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each role's pod, by role."""
    found = [one for one in objects if one["kind"] in WORKLOADS]
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"] for one in found}


@pytest.mark.parametrize("values", ["small", WHOLE])
def test_helm_finds_nothing_wrong_with_the_chart(values: str) -> None:
    """`helm lint --strict`."""
    given = [
        "--values",
        CHART / "ci" / f"{values}-values.yaml",
        f"--set-file=fleet.toml={DEPLOY / 'fleet' / 'fleet.toml'}",
    ]
    done = helm("lint", CHART, "--strict", "--kube-version", KUBERNETES, *given)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", ["small", WHOLE])
def test_kubernetes_would_take_every_object(values: str) -> None:
    """Each fits the schema of its kind, strictly; those of the Prometheus operator have none here."""
    objects = rendered(values)
    for one in objects:
        if not one["apiVersion"].startswith("monitoring.coreos.com/"):
            check_object(one)
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("values", ["small", WHOLE])
def test_every_pod_can_be_asked_how_it_is_and_may_do_little(values: str) -> None:
    """Probes, time to stop, no root, a root file system for reading, limits; no variables of Kubernetes' own, no token of it."""
    for role, pod in workloads(rendered(values)).items():
        spec = pod["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"], role
        assert spec["enableServiceLinks"] is False, "STARLOOP_MQTT_PORT=tcp://… would be taken for a setting"
        assert spec["automountServiceAccountToken"] is False
        assert spec["terminationGracePeriodSeconds"] == 35
        assert container["securityContext"]["readOnlyRootFilesystem"], role
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"], role
        assert {one["mountPath"] for one in container["volumeMounts"]} >= {"/tmp", "/var/lib/starloop"}
        if role == "fleet":
            continue
        ports = {one["name"]: one["containerPort"] for one in container["ports"]}
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            asked = container[probe]["httpGet"]
            assert (asked["path"], asked["port"]) == (path, "http"), role
            assert asked["scheme"] == ("HTTPS" if role == "console" and values == WHOLE else "HTTP")
        assert ports["http"] == (8080 if role == "console" else 9464)


@pytest.mark.parametrize("values", ["small", WHOLE])
def test_the_settings_of_each_pod_are_taken(values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable is a setting, with a value that Settings.read() takes; the commands are there, with their options."""
    for role, pod in workloads(rendered(values)).items():
        (container,) = pod["spec"]["containers"]
        given = {one["name"]: one.get("value", "from elsewhere") for one in container["env"]}
        assert set(given) <= SETTINGS | NOT_OURS | {"PGPASSWORD"}, role
        assert len(given) == len(container["env"]), role
        with monkeypatch.context() as patch:
            for name, value in given.items():
                patch.setenv(name, value)
            settings = Settings.read()
        assert settings.log.startswith("kafka://")
        assert settings.partitions == (64 if values == WHOLE else 32)
        done = CliRunner().invoke(cli, [*container["args"], "--help"])
        assert done.exit_code == 0, done.output


def test_every_file_that_a_setting_names_is_mounted() -> None:
    """Secrets come as files of one folder, under the names that the settings have."""
    for role, pod in workloads(rendered(WHOLE)).items():
        (container,) = pod["spec"]["containers"]
        (secrets,) = [one["projected"]["sources"] for one in pod["spec"]["volumes"] if one["name"] == "secrets"]
        mounted = {f"/run/starloop/{item['path']}" for one in secrets for item in one["secret"]["items"]}
        named = {one["value"] for one in container["env"] if one.get("value", "").startswith("/run/starloop/")}
        named |= {one for one in container["args"] if one.startswith("/run/starloop/")}
        assert named == mounted, role


def test_who_keeps_names_and_disks_has_them() -> None:
    """A gate and the console have a claim; a gate and an edge have names that stay; all reactors sign with one secret."""
    objects = rendered(WHOLE)
    sets = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one for one in objects if one["kind"] == "StatefulSet"
    }
    assert set(sets) == {"gate", "console", "edge"}
    assert all("volumeClaimTemplates" in sets[role]["spec"] for role in ("gate", "console"))
    (service,) = [one for one in objects if one["kind"] == "Service" and one["metadata"]["name"].endswith("-gate")]
    assert service["spec"]["sessionAffinity"] == "ClientIP"
    (container,) = workloads(objects)["reactor"]["spec"]["containers"]
    assert "/var/lib/starloop/webhook-secret" in {one["mountPath"] for one in container["volumeMounts"]}
    (made,) = [one for one in objects if one["kind"] == "Secret"]
    assert set(made["data"]) == {"token", "webhook-secret"}
    assert made["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_prometheus_sees_every_role_under_the_names_that_the_rules_rest_on() -> None:
    """The rules of deploy/prometheus as they are, and a monitor with job and role; the console over TLS."""
    objects = {one["kind"]: one for one in rendered(WHOLE)}
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())
    assert objects["PrometheusRule"]["spec"]["groups"] == rules["groups"]
    (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
    targets = {one["targetLabel"]: one for one in endpoint["relabelings"]}
    assert targets["job"]["replacement"] == "starloop"
    assert targets["role"]["sourceLabels"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_component"]
    assert targets["__scheme__"]["regex"] == "console"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("--set=kafka.brokers=", "brokers"),
        ("--set=kafka.brokers=kafka://kafka:9092", "brokers"),
        ("--set=postgres.url=postgresql://starloop:secret@postgres/starloop", "url"),
        ("--set=insecure=false", "insecure: true"),
        ("--set=edge.enabled=true", "edge.broker"),
        ("--set=influx.url=http://influxdb:8086", "influx.tokenSecret.name"),
        ("--set=settings.STARLOOP_TICK_BUSY_MS=5", "settings"),
        ("--set=strem.replicas=3", "strem"),
    ],
)
def test_values_that_cannot_be_are_refused(wrong: str, said: str) -> None:
    """By the schema or by the chart, with the value's name, before anything is installed."""
    done = helm(*template("small"), wrong)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_setting_of_ones_own_goes_before_the_charts() -> None:
    """`settings` reaches every role, each variable once."""
    for pod in workloads(rendered("small", "--set-string=settings.STARLOOP_PARTITIONS=8")).values():
        (container,) = pod["spec"]["containers"]
        assert [one["value"] for one in container["env"] if one["name"] == "STARLOOP_PARTITIONS"] == ["8"]
