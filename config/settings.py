"""Settings of an installation, from the environment (`STARLOOP_…`) or from options of a command.

Customers, devices and suppliers are not settings; they are in the fleet file. A setting is a name, a default, a unit and a
help text; a test compares docs/reference/settings.md with them.
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
    """Every setting with its default; `Settings.read()` reads the environment."""

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
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = _setting(
        "PLAIN", "Authentication method of that user."
    )
    kafka_ca: Path | None = _setting(
        None, "Certificates (PEM) of the authorities that sign Kafka's; with it, connections use TLS."
    )
    instance: str | None = _setting(None, "Name of this process among others of its role; the host's name unless set.")
    store: str = _setting("sqlite", "The store: `sqlite` (in the data folder), or `postgresql+psycopg://...`.")
    profile_dirs: tuple[Path, ...] = _setting(
        (), 'Folders with profiles of your own, as a JSON list: `["/etc/starloop"]`.'
    )
    models_dir: Path | None = _setting(
        None, "Folder of models of your own; `starloop models promote` brings one into force."
    )

    mqtt_host: str = _setting(
        "127.0.0.1", "Address of the MQTT endpoint; beyond loopback it needs credentials and TLS."
    )
    mqtt_port: int = _setting(1883, "Port of the MQTT endpoint; 0 takes a free one.", ge=0, le=65535)
    http_host: str = _setting("127.0.0.1", "Address of the console and HTTP API; beyond loopback it needs TLS.")
    http_port: int = _setting(8080, "Port of the console and HTTP API; 0 takes a free one.", ge=0, le=65535)
    mqtt_credentials: Path | None = _setting(None, "File of MQTT users: TOML tables with name, password hash and role.")
    tls_cert: Path | None = _setting(None, "Certificate chain (PEM) of both endpoints.")
    tls_key: Path | None = _setting(None, "Key (PEM) of the certificate.")
    insecure: bool = _setting(False, "Listen beyond loopback without credentials and TLS.")
    public_url: str | None = _setting(None, "URL at which people reach the console, for links in messages.")

    ticks: Literal["service", "log"] = _setting(
        "service", "Source of ticks: the `service`, or the `log`, where a history with ticks was loaded into it."
    )
    tick_busy_ms: int = _count(100, "Time between ticks while readings or events arrive.", unit="ms")
    tick_idle_ms: int = _count(5_000, "Time between ticks while nothing arrives.", unit="ms")
    batch_ms: int = _count(3, "How long readings wait to be written together.", unit="ms", least=0)
    batch_messages_max: int = _count(2_000, "Most messages written together.", unit="messages")
    checkpoint_s: float = _setting(10.0, "Time between checkpoints of the state.", unit="s", gt=0)
    forget_detectors: tuple[str, ...] = _setting(
        (), 'Detectors that are not installed any more, whose state is dropped, as a JSON list: `["leak"]`.'
    )

    packet_bytes_max: int = _count(16_777_216, "Largest MQTT packet; a longer one ends the connection.", unit="bytes")
    connections_max: int = _count(10_000, "MQTT connections at once.", unit="connections")
    sessions_max: int = _count(100_000, "Most persistent MQTT sessions.", unit="sessions")
    session_queue_max: int = _count(
        1_000, "Most messages queued for a session; beyond it the oldest are dropped.", unit="messages"
    )
    session_expiry_s: int = _count(
        604_800, "Longest time that a session is kept after its connection has ended.", unit="s"
    )
    connect_timeout_s: float = _setting(10.0, "Time from a new connection to its CONNECT.", unit="s", gt=0)
    may_accept: bool = _setting(
        False,
        "Accept orders, which spend money, from another broker: only where it lets customers publish for themselves alone.",
    )
    inflight_max: int = _count(1_000, "Most unacknowledged messages to a connection.", unit="messages")
    retained_max: int = _count(100_000, "Most retained messages.", unit="messages")
    intake_bytes_max: int = _count(
        67_108_864, "Payloads waiting for the log above which connections are not read.", unit="bytes"
    )
    payload_bytes_max: int = _count(1_048_576, "Largest HTTP request body.", unit="bytes")

    log_keep_days: float = _setting(400.0, "Age at which records of the log are deleted.", unit="days", gt=0)
    quarantine_keep_days: float = _setting(90.0, "Age at which quarantined payloads are deleted.", unit="days", gt=0)
    disk_free_bytes_min: int = _count(
        67_108_864, "Free space on the disk below which readings are no longer acknowledged.", unit="bytes", least=0
    )

    influx_url: str | None = _setting(None, "URL of the InfluxDB to write to; without it nothing is written.")
    influx_org: str = _setting("starloop", "Organisation at InfluxDB.")
    influx_bucket: str = _setting("starloop", "Bucket at InfluxDB.")
    influx_token: SecretStr | None = _setting(None, "Token of InfluxDB; better in a file.")
    influx_token_file: Path | None = _setting(None, "File with the token of InfluxDB.")
    influx_readings: Literal["profile", "off", "sampled", "all"] = _setting(
        "profile", "Raw readings written to InfluxDB: as in each device's profile, or one choice for all."
    )

    otlp_url: str | None = _setting(None, "OpenTelemetry collector (OTLP over HTTP) that traces are sent to.")
    health_host: str = _setting("127.0.0.1", "Address of a role's health and metrics endpoint.")
    health_port: int = _setting(
        9464, "Port of a role's health and metrics endpoint; 0 takes a free one.", ge=0, le=65535
    )
    metrics_token_file: Path | None = _setting(
        None, "File with the token of /metrics; without it only requests from loopback are answered."
    )
    standbys: int = _count(0, "Stream workers with a standby copy of a partition's state.", unit="workers", least=0)

    send_attempts_max: int = _count(40, "Attempts to deliver a reaction before it is given up and reported.")
    send_backoff_s: float = _setting(
        1.0, "Wait before the second attempt; it doubles for each further one.", unit="s", gt=0
    )
    send_backoff_max_s: float = _setting(3_600.0, "Longest wait between attempts.", unit="s", gt=0)
    send_timeout_s: float = _setting(20.0, "Time one attempt may take.", unit="s", gt=0)
    stop_s: float = _setting(25.0, "Longest time for a stop, after which the rest is aborted.", unit="s", gt=0, le=30)

    log_level: Literal["debug", "info", "warning", "error"] = _setting(
        "info", "Lowest level of log events on standard error."
    )
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
        """The settings of the environment, with `given` values that are not None in their place.

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
    """Variables with the prefix that are no settings, each with a suggestion; for `starloop doctor`."""
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
