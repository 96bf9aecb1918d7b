"""What the InfluxDB sink is told, and what it tells: its options with every limit named, and its state."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from config.profile_schema import RawReadingsMode
from star.errors import Unavailable

GROUP = "starloop-influx"
"""The consumer group whose commits say what InfluxDB has, by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluxOptions:
    """Where to write, as whom, and how much at once.

    token_file goes before token, and is read again whenever the server does not take the token, so that a new one needs no
    restart. readings: for all devices alike; None: as each one's profile says. group: its whole name, with the prefix that
    topics have on Kafka where that is another. gather_s: how long lines are gathered before
    they are written together. batch_points: written together at most (one reading record may go beyond it); batch_bytes_max:
    a request's body before it is packed with gzip. connect_s, timeout_s: of one request. backoff_s doubles with each further try up to
    backoff_max_s; setup_retry_s: between tries where the server is there and will not have us. refused_max: bad lines looked
    for one by one in a batch; what is refused beyond them is set aside in larger pieces.
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
        """Whether bodies are packed: unless told, not on the way to this very machine, where it only costs time."""
        if self.gzip is not None:
            return self.gzip
        return urlsplit(self.url).hostname not in ("127.0.0.1", "localhost", "::1")

    def read_token(self) -> str:
        """The token as it is now. Raises Unavailable, naming the setting, where there is none."""
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
    """How the sink is doing. reachable: the server took what it was last sent, or would have (None: not tried yet).

    behind_records: of the log, which the group has yet to commit. last_error: what is or was last wrong, with what to do.
    last_written_ms: when points were last taken. rejected_points: set aside in the quarantine; too_old_points: not kept by the
    bucket's own retention.
    """

    reachable: bool | None = None
    behind_records: int = 0
    last_error: str | None = None
    last_written_ms: int | None = None
    written_points: int = 0
    rejected_points: int = 0
    too_old_points: int = 0
