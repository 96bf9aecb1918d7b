"""What the tests of deploy/ ask: the tools that read its files as those who use them do, and the settings that are real."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource

from config.settings import PREFIX, Settings
from tests.support.server_process import absent
from tests.support.servers import VERSIONS, servers_folder

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE, COMPOSE_TLS = DEPLOY / "compose.yaml", DEPLOY / "compose.tls.yaml"
CHART = DEPLOY / "helm" / "starloop"
SETTINGS = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
NOT_OURS = {"STARLOOP_BROKER_PASSWORD", "STARLOOP_UPLINK_PASSWORD", "STARLOOP_PROMETHEUS_URL"}
"""Of the commands that talk to brokers, and of Grafana's provisioning: no settings, and none of doctor's."""
KUBERNETES = "1.34.0"


def installed(name: str, version: str, file: str) -> Path:
    """A file of what `make servers` put there; else the test is skipped (CI: fails)."""
    path = servers_folder() / f"{name}-{VERSIONS[version]}" / file
    if not path.exists():
        absent(f"{name} {VERSIONS[version]} is not at {path}: make servers")
    return path


def deploy_check(*arguments: str | Path, **environment: str) -> Any:
    """What Compose's loader or BuildKit's parser made of the files."""
    program = installed("deploy-check", "DEPLOY_CHECK_VERSION", "deploy-check")
    done = subprocess.run(
        [program, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def services(*files: Path, **environment: str) -> dict[str, dict[str, Any]]:
    """The services of Compose files, merged, their profiles too."""
    found: dict[str, dict[str, Any]] = deploy_check("compose", *files, **environment)["services"]
    return found


def ours(found: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those that are Starloop's roles, and the fleet's job."""
    return {name: one for name, one in found.items() if "build" in one}


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs Helm's client; it has no cluster to ask."""
    program = installed("helm", "HELM_VERSION", "helm")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def rendered(values: str, *more: str) -> list[dict[str, Any]]:
    """The chart's objects with the values of a file in ci/."""
    done = helm(*template(values), *more)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


def template(values: str) -> list[str | Path]:
    """The arguments for it."""
    given = [
        "--values",
        CHART / "ci" / f"{values}-values.yaml",
        f"--set-file=fleet.toml={DEPLOY / 'fleet' / 'fleet.toml'}",
    ]
    return ["template", "starloop", CHART, "--kube-version", KUBERNETES, *given]


def check_object(thing: dict[str, Any]) -> None:
    """Raises where Kubernetes would not take it, by its own schema, strictly."""
    group, _, version = thing["apiVersion"].rpartition("/")
    name = "-".join([thing["kind"].lower(), *([group.split(".")[0]] if group else []), version])
    folder = installed("kubernetes-schema", "KUBERNETES_SCHEMA_VERSION", "_definitions.json").parent
    schema = json.loads((folder / f"{name}.json").read_text())
    jsonschema.Draft7Validator(schema, registry=_registry(folder)).validate(thing)


@functools.cache
def _registry(folder: Path) -> Registry[Any]:
    definitions = json.loads((folder / "_definitions.json").read_text())
    resource = Resource.from_contents({"$schema": "http://json-schema.org/draft-07/schema#", **definitions})
    return Registry().with_resource("_definitions.json", resource)  # type: ignore[no-any-return]


def named_settings(text: str) -> set[str]:
    """Everything in a text that looks like a setting."""
    return set(re.findall(rf"(?<![A-Z_]){PREFIX}[A-Z0-9_]*[A-Z0-9]\b(?!_)", text))
