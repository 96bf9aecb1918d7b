"""Settings: how this installation runs, from the environment (`STARLOOP_…`) or options of a command.

Who depends on what is not here but in the fleet file. A setting is a name, a default, a unit and a help; docs/reference/
settings.md lists them all, and a test keeps it so.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from config.suggestions import did_you_mean
from star.errors import ConfigError, Problem

PREFIX = "STARLOOP_"


def _setting(default: Any, help: str, *, unit: str = "", **limits: Any) -> Any:
    return Field(default, description=help, json_schema_extra={"unit": unit}, **limits)


def _count(default: int, help: str, *, unit: str = "", least: int = 1) -> Any:
    return _setting(default, help, unit=unit, ge=least)


class Settings(BaseSettings):
    """Every setting, with its default; `Settings.read()` gives those of the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", str_strip_whitespace=True)

    data_dir: Path = _setting(
        Path("starloop-data"), "Folder of the log, the store and the secrets; one process owns it."
    )
    log: str = _setting("embedded", "The log: `embedded` (in the data folder), or `kafka://host:port[,host:port]`.")
    partitions: int | None = _setting(
        None, "Partitions of the log on Kafka, fixed when its topics are made: 32 unless set.", ge=1, le=4096
    )
    log_replication: int = _count(1, "Copies of each record that Kafka keeps.", unit="copies")
    log_prefix: str = _setting("starloop-", "Before the name of every topic and consumer group on Kafka.", min_length=1)
    kafka_user: str | None = _setting(None, "User at Kafka (SASL); none connects without.")
    kafka_password_file: Path | None = _setting(None, "File with that user's password.")
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = _setting("PLAIN", "How that user signs in.")
    kafka_ca: Path | None = _setting(None, "Certificates (PEM) that Kafka is trusted by: TLS is used.")
    instance: str | None = _setting(None, "Name of this process among others of its role; the host's unless set.")
    store: str = _setting("sqlite", "The store: `sqlite` (in the data folder), or `postgresql+psycopg://...`.")
    profile_dirs: tuple[Path, ...] = _setting(
        (), 'Folders with profiles of your own, as a JSON list: `["/etc/starloop"]`.'
    )
    models_dir: Path | None = _setting(
        None, "Folder of models of your own; one is in force there once `starloop models promote` made it so."
    )

    mqtt_host: str = _setting(
        "127.0.0.1", "Address of the MQTT endpoint; beyond loopback it wants credentials and TLS."
    )
    mqtt_port: int = _setting(1883, "Port of the MQTT endpoint; 0 takes a free one.", ge=0, le=65535)
    http_host: str = _setting("127.0.0.1", "Address of the console and HTTP API; beyond loopback it wants TLS.")
    http_port: int = _setting(8080, "Port of the console and HTTP API; 0 takes a free one.", ge=0, le=65535)
    mqtt_credentials: Path | None = _setting(None, "File of MQTT users: TOML tables with name, password hash and role.")
    tls_cert: Path | None = _setting(None, "Certificate chain (PEM) of both endpoints.")
    tls_key: Path | None = _setting(None, "Key (PEM) of the certificate.")
    insecure: bool = _setting(False, "Listen beyond loopback without credentials and TLS.")
    public_url: str | None = _setting(None, "URL at which people reach the console, for links in messages.")

    ticks: Literal["service", "log"] = _setting(
        "service", "Who ticks: the `service`, or the `log` itself, where a history with ticks was loaded into it."
    )
    tick_busy_ms: int = _count(100, "Time between ticks while readings or events arrive.", unit="ms")
    tick_idle_ms: int = _count(5_000, "Time between ticks while nothing arrives.", unit="ms")
    batch_ms: int = _count(3, "How long readings are gathered before they are written together.", unit="ms", least=0)
    batch_messages_max: int = _count(2_000, "Messages written together at most.", unit="messages")
    checkpoint_s: float = _setting(10.0, "Time between checkpoints of the state.", unit="s", gt=0)
    forget_detectors: tuple[str, ...] = _setting(
        (), 'Detectors that are not installed any more, whose state is dropped, as a JSON list: `["leak"]`.'
    )

    packet_bytes_max: int = _count(
        16_777_216, "Largest MQTT packet taken; a longer one ends the connection.", unit="bytes"
    )
    connections_max: int = _count(10_000, "MQTT connections at once.", unit="connections")
    sessions_max: int = _count(100_000, "Persistent MQTT sessions kept.", unit="sessions")
    session_queue_max: int = _count(
        1_000, "Messages kept for a session that is away; then the oldest go.", unit="messages"
    )
    session_expiry_s: int = _count(604_800, "How long a session that is away is kept.", unit="s")
    connect_timeout_s: float = _setting(10.0, "Time a new connection has to say CONNECT.", unit="s", gt=0)
    may_accept: bool = _setting(
        False,
        "Take acceptances, which spend money, from a broker of others: where it lets customers speak for themselves only.",
    )
    inflight_max: int = _count(1_000, "Unacknowledged QoS 1 messages a connection may have.", unit="messages")
    retained_max: int = _count(100_000, "Retained messages kept.", unit="messages")
    intake_bytes_max: int = _count(
        67_108_864, "Payloads waiting for the log; above it connections are not read from.", unit="bytes"
    )
    payload_bytes_max: int = _count(1_048_576, "Largest HTTP request body taken.", unit="bytes")

    log_keep_days: float = _setting(400.0, "Age at which records of the log are let go.", unit="days", gt=0)
    quarantine_keep_days: float = _setting(90.0, "Age at which quarantined payloads are let go.", unit="days", gt=0)
    disk_free_bytes_min: int = _count(
        67_108_864, "Free room on the disk below which readings are no longer acknowledged.", unit="bytes", least=0
    )

    influx_url: str | None = _setting(None, "InfluxDB to write to; none writes nothing.")
    influx_org: str = _setting("starloop", "Organisation at InfluxDB.")
    influx_bucket: str = _setting("starloop", "Bucket at InfluxDB.")
    influx_token: SecretStr | None = _setting(None, "Token of InfluxDB; better in a file.")
    influx_token_file: Path | None = _setting(None, "File with the token of InfluxDB.")
    influx_readings: Literal["profile", "off", "sampled", "all"] = _setting(
        "profile", "Raw readings at InfluxDB: as each device's profile says, or one way for all."
    )

    otlp_url: str | None = _setting(None, "OpenTelemetry collector (OTLP over HTTP) that traces are sent to.")
    health_host: str = _setting("127.0.0.1", "Address of a role's health and metrics endpoint.")
    health_port: int = _setting(
        9464, "Port of a role's health and metrics endpoint; 0 takes a free one.", ge=0, le=65535
    )
    metrics_token_file: Path | None = _setting(
        None, "File with the token that /metrics asks for; without it only loopback is answered."
    )
    standbys: int = _count(0, "Other stream workers that keep a copy of a partition's state.", unit="workers", least=0)

    send_attempts_max: int = _count(40, "Attempts to bring a reaction to its receiver before a person is told.")
    send_backoff_s: float = _setting(
        1.0, "Wait before the second attempt; it doubles for each further one.", unit="s", gt=0
    )
    send_backoff_max_s: float = _setting(3_600.0, "Longest wait between attempts.", unit="s", gt=0)
    send_timeout_s: float = _setting(20.0, "Time one attempt may take.", unit="s", gt=0)
    stop_s: float = _setting(25.0, "Time that stopping may take before what is left is cut off.", unit="s", gt=0, le=30)

    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "What is said on standard error.")
    log_format: Literal["auto", "console", "json"] = _setting(
        "auto", "`auto`: for people on a terminal, JSON otherwise."
    )

    @model_validator(mode="after")
    def _tls_has_both(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("expected tls_cert and tls_key together")
        if self.tick_idle_ms < self.tick_busy_ms:
            raise ValueError("expected tick_idle_ms not below tick_busy_ms")
        return self

    @classmethod
    def read(cls, **given: Any) -> Settings:
        """The settings of the environment; what is `given` (and not None) goes before it.

        Raises ConfigError with every problem, each naming its variable.
        """
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise ConfigError([_problem(one["loc"], one["msg"], one["input"]) for one in error.errors()]) from None
        except ValueError as error:  # pydantic-settings: a list that is no JSON
            raise ConfigError([Problem(file="environment", line=None, field="", message=str(error))]) from None


def _problem(loc: tuple[int | str, ...], message: str, value: object) -> Problem:
    name = str(loc[0]) if loc else ""
    found = "" if not name or "token" in name else f"is {str(value)[:60]!r}: "
    expectation = message.removeprefix("Value error, ").replace("Input should be", "expected")
    return Problem(
        file="environment", line=None, field=f"{PREFIX}{name.upper()}" if name else "", message=found + expectation
    )


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables that look like settings and are none, each with what may have been meant; for `starloop doctor`."""
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    foreign = {"STARLOOP_DATA"}  # where tests find their data
    given = sorted(name for name in environment if name.startswith(PREFIX))
    return [f"{name}{did_you_mean(name, known)}" for name in given if name not in known and name not in foreign]


def settings_rows() -> list[tuple[str, str, str, str]]:
    """Each setting as (variable, default, unit, help), in the order of the class."""
    rows: list[tuple[str, str, str, str]] = []
    for name, one in Settings.model_fields.items():
        extra = one.json_schema_extra
        unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
        default = {"None": "none", "True": "true", "False": "false", "()": "[]"}.get(str(one.default), str(one.default))
        rows.append((f"{PREFIX}{name.upper()}", default, unit, one.description or ""))
    return rows


def settings_table() -> str:
    """The table of docs/reference/settings.md."""
    lines = ["| setting | default | unit | what it does |", "| --- | --- | --- | --- |"]
    lines += [f"| `{name}` | `{default}` | {unit} | {help} |" for name, default, unit, help in settings_rows()]
    return "\n".join(lines)
