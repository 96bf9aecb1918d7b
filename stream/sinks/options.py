"""The InfluxDB sink's options, with every limit, and its status."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from config.profile_schema import RawReadingsMode
from star.errors import Unavailable

GROUP = "starloop-influx"
"""The default consumer group: its committed offsets are what InfluxDB has stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxOptions:
    """Where to write, with which token, and how much at once.

    token_file takes precedence over token, and is read again whenever the server rejects the token, so that a new one needs no
    restart. readings: which readings are written, of all devices; None: as each device's profile says. group: the full name,
    with the topics' prefix on Kafka where it is another one. flush_interval_s: how long lines are collected for one request.
    batch_points: lines of one request (one record of readings may exceed it); batch_bytes_max: size of its body before
    compression. gzip: None compresses unless the server is on this machine. connect_s, timeout_s: of one request. backoff_s
    doubles with each retry up to backoff_max_s. setup_retry_s: between tries while the server refuses the configuration.
    probe_s: between probes while there is nothing to write. refused_max: rejected lines that are isolated one by one in a
    batch; beyond that, larger pieces are quarantined.
    """

    url: str
    org: str = "starloop"
    bucket: str = "starloop"
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    readings: RawReadingsMode | None = None
    group: str = GROUP
    flush_interval_s: float = 1.0
    batch_points: int = 10_000
    batch_bytes_max: int = 4 << 20
    gzip: bool | None = None
    connect_s: float = 5.0
    timeout_s: float = 20.0
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    setup_retry_s: float = 15.0
    probe_s: float = 30.0
    refused_max: int = 20

    @property
    def compress(self) -> bool:
        """Whether bodies are compressed; by default not for a server on this machine, where it only costs time."""
        if self.gzip is not None:
            return self.gzip
        return urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1")

    def read_token(self) -> str:
        """The current token. Raises Unavailable with the setting's name where there is none."""
        if self.token_file is None:
            if not self.token.strip():
                raise Unavailable("no token: set STARLOOP_INFLUX_TOKEN_FILE to a file with one that may write")
            return self.token.strip()
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise Unavailable(f"STARLOOP_INFLUX_TOKEN_FILE is {str(self.token_file)!r}: {error}") from error
        if not token:
            raise Unavailable(
                f"STARLOOP_INFLUX_TOKEN_FILE is {str(self.token_file)!r}, which is empty: expected a token"
            )
        return token


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxStatus:
    """The sink's status.

    reachable: the server accepted the last request (None: none was sent yet). behind_records: the group's lag. last_error: the
    latest problem, with what to do. last_written_ms: when points were last written. rejected_points: in quarantine.
    too_old_points: dropped by the bucket's own retention.
    """

    reachable: bool | None = None
    behind_records: int = 0
    last_error: str | None = None
    last_written_ms: int | None = None
    written_points: int = 0
    rejected_points: int = 0
    too_old_points: int = 0
