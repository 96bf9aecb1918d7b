"""Checks of the configuration: settings, ports, TLS and secret files, models against their cards."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from config.settings import PREFIX, Settings, unknown_variables
from models.cards import SHIPPED_REGISTRY, model_dir, model_names, model_versions, read_card, read_model
from models.champion import champion_dir as in_force_model
from models.onnx_scorer import OnnxScorer, load_run_out
from operations.diagnostics.finding import Finding, fail, ok, warn
from reactor.channels.signing_secret import SECRET_FILE
from runtime.data_dir import SERVICE_FILE
from runtime.service_discovery import RunningService
from star.errors import ModelError

HIDDEN = "(hidden)"


def setup_findings(settings: Settings, service: RunningService | None) -> Iterator[Finding]:
    """All findings of the configuration. service: the one that runs on this data directory."""
    yield from settings_findings(settings, os.environ)
    yield port_finding("mqtt port", settings.mqtt_host, settings.mqtt_port, service.mqtt_port if service else None)
    yield port_finding("http port", settings.http_host, settings.http_port, service.http_port if service else None)
    yield from secret_findings(settings)
    yield from model_findings(SHIPPED_REGISTRY)
    if settings.models_dir is not None and model_names(settings.models_dir):
        yield from model_findings(settings.models_dir)
    yield champion_finding(settings.models_dir)


def settings_findings(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Unknown STARLOOP_ variables, and settings that differ from the defaults."""
    for name in unknown_variables(environment):
        yield warn("settings", f"{name.split(' ')[0]} is not a setting", f"see docs/reference/settings.md: {name}")
    changed = {
        k: v
        for k, v in settings_in_force(settings).items()
        if v != settings_in_force(Settings.model_construct()).get(k)
    }
    said = ", ".join(f"{PREFIX}{name.upper()}={value}" for name, value in changed.items())
    yield ok("settings", said or "all defaults")


def settings_in_force(settings: Settings) -> dict[str, str]:
    """Every setting as text, with passwords and tokens hidden."""
    return {name: _shown(getattr(settings, name)) for name in Settings.model_fields}


def port_finding(name: str, host: str, port: int, ours: int | None) -> Finding:
    """Whether the port is free, or in use by this service."""
    place = f"{host}:{port}"
    if ours is not None:
        return ok(name, f"{ours}, in use by this service")
    if port == 0:
        return ok(name, "any free port, chosen at start")
    variable = f"{PREFIX}{name.replace(' ', '_').upper()}"
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return fail(name, f"{place} is in use by another program", f"stop it, or set {variable}")
        return fail(name, f"can't listen on {place}: {error.strerror or error}", f"set {variable}")
    return ok(name, f"{place} is free")


def secret_findings(settings: Settings) -> Iterator[Finding]:
    """Whether configured secret files are readable, and only by their owner."""
    secrets = [
        settings.tls_key,
        settings.mqtt_credentials,
        settings.kafka_password_file,
        settings.influx_token_file,
        settings.metrics_token_file,
    ]
    named = [path for path in (settings.tls_cert, settings.kafka_ca, *secrets) if path is not None]
    for path in named:
        if not os.access(path, os.R_OK):
            yield fail(
                "secrets", f"{path} is missing or unreadable", "correct its path, or grant the service's user access"
            )
    kept = [
        settings.data_dir / SECRET_FILE,
        settings.data_dir / SERVICE_FILE,
        *secrets,
    ]
    wide = [path for path in kept if path is not None and path.exists() and _read_by_others(path)]
    for path in wide:
        yield warn("secrets", f"{path} is readable by other users", f"chmod 600 {path}")
    if not wide:
        yield ok("secrets", "secret files are readable by their owner only")


def model_findings(registry: Path) -> Iterator[Finding]:
    """Each model of a registry: the hash of every version against its card; the newest version is also loaded."""
    if not model_names(registry):
        yield fail("models", f"{registry} contains no models", "reinstall Starloop")
    for name in model_names(registry):
        try:
            for number in model_versions(name, registry):
                folder = model_dir(name, registry, number)
                card = read_card(folder)
                body = read_model(folder, card)
            loaded = OnnxScorer(body, card, folder)
        except ModelError as error:
            yield fail("models", str(error), "reinstall Starloop, or train the model: starloop models train")
        else:
            yield ok("models", f"{loaded.name} matches its card")


def champion_finding(own: Path | None) -> Finding:
    """The run-out model that a service would load now."""
    try:
        loaded = load_run_out(in_force_model("run-out", own))
    except ModelError as error:
        return fail("model in force", str(error), "promote a version again, or delete the champion.toml named here")
    return ok("model in force", loaded.name)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return HIDDEN
    text = "none" if value is None else str(value)
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return HIDDEN  # not a URL: it may contain a password anywhere
    if parts.password is None:
        return text
    place = parts.netloc.replace(f":{parts.password}@", f":{HIDDEN}@")
    return urlunsplit(parts._replace(netloc=place))


def _read_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
