"""Kafka's address and security, and its errors in an operator's words: shared by the client and the Faust transport.

Sizes and times are fixed here, so that producers, topics and consumers agree on them.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
)

from config.settings import Settings
from star.errors import InputError, LogError
from stream.transports.log_client import RECORD_BYTES_MAX

SCHEME = "kafka"
"""Scheme of the setting that names the log."""
PARTITIONS_DEFAULT = 32
"""Partitions of a new topic: as many workers can share the load, and the number can't be changed later."""
BATCH_BYTES = 1 << 20
"""Records of a partition that the producer sends in one batch; a larger record is a batch of its own."""
FETCH_PARTITION_BYTES = 4 << 20
"""Limit of one partition in a fetch; a larger record is fetched alone."""
FETCH_BYTES = 16 << 20
"""Limit of a fetch from one broker: with the records that agents hold, it bounds a consumer's memory."""
FETCH_WAIT_MS = 200
"""How long a broker delays an empty response: a partition that was just assigned or resumed may wait this long."""
REQUEST_S_MAX = 15.0
"""Timeout of one request to a broker."""
OPERATION_S_MAX = 20.0
"""Timeout of an append, a commit or a query, with its retries."""
STOP_S_MAX = 5.0
"""Timeout of stopping a client whose broker may be away."""
RETRY_MS = 100
"""Pause between tries."""

_DENIED = (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
_NOT_ENOUGH_REPLICAS = (NotEnoughReplicasError, NotEnoughReplicasAfterAppendError)


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions:
    """Kafka's address and security, and how topics are created.

    brokers: `host:port` each. partitions: None takes the number that topics have, or PARTITIONS_DEFAULT for new ones.
    prefix: of the name of every topic and group. ca: file of the certificates (PEM) that vouch for brokers; turns TLS on.
    mechanism: of SASL, used with a user: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    """

    brokers: tuple[str, ...]
    partitions: int | None = None
    replication: int = 1
    prefix: str = "starloop-"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: str = "PLAIN"
    ca: Path | None = None
    client_id: str = "starloop"
    session_timeout_s: float = 6.0
    heartbeat_s: float = 0.5

    @staticmethod
    def parse_brokers(url: str) -> tuple[str, ...]:
        """The brokers of `kafka://host:port[,host:port]`; port 9092 where none is given. Raises InputError."""
        scheme, _, rest = url.partition("://")
        brokers = tuple(one.strip() for one in rest.rstrip("/").split(","))
        if scheme != SCHEME or not all(brokers) or "/" in rest.rstrip("/"):
            raise InputError(f"log {url!r}: expected kafka://host:port[,host:port]")
        return tuple(one if one.rpartition(":")[2].isdigit() else f"{one}:9092" for one in brokers)

    @property
    def app_id(self) -> str:
        """The Faust app's id, which names its group and, with the topics' prefix, its changelogs."""
        return self.prefix.rstrip("-")

    def topic_name(self, name: str) -> str:
        """The topic's name on Kafka."""
        return self.prefix + name

    def client_config(self) -> dict[str, Any]:
        """The configuration of every aiokafka client. Raises InputError where the certificates can't be read."""
        common: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": self.client_id,
            "request_timeout_ms": int(REQUEST_S_MAX * 1000),
            "retry_backoff_ms": RETRY_MS,
        }
        if self.ca is not None:
            common["ssl_context"] = self._ssl_context()
        if self.user is not None:
            common["sasl_mechanism"] = self.mechanism
            common["sasl_plain_username"] = self.user
            common["sasl_plain_password"] = self.password or ""
        secured = "SSL" if self.ca is not None else "PLAINTEXT"
        common["security_protocol"] = secured if self.user is None else f"SASL_{secured}"
        return common

    def producer_config(self) -> dict[str, Any]:
        """The configuration of producers: acknowledged by every in-sync replica, each record once and in order over retries."""
        return {
            **self.client_config(),
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": 0,  # the next batch fills while a request is in flight
            "max_batch_size": BATCH_BYTES,
            "max_request_size": RECORD_BYTES_MAX + (64 << 10),
        }

    def consumer_config(self, group: str | None) -> dict[str, Any]:
        """The configuration of consumers. group: None for a consumer that commits nothing."""
        common: dict[str, Any] = {
            **self.client_config(),
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "fetch_max_wait_ms": FETCH_WAIT_MS,
            "max_partition_fetch_bytes": FETCH_PARTITION_BYTES,
            "fetch_max_bytes": FETCH_BYTES,
            "metadata_max_age_ms": 60_000,
        }
        if group is not None:
            common["group_id"] = group
            common["session_timeout_ms"] = int(self.session_timeout_s * 1000)
            common["heartbeat_interval_ms"] = int(self.heartbeat_s * 1000)
            common["rebalance_timeout_ms"] = int(max(30.0, self.session_timeout_s) * 1000)
            common["max_poll_interval_ms"] = 24 * 3_600_000  # a consumer under back-pressure stays in its group
        return common

    def to_log_error(self, operation: str, error: BaseException) -> LogError:
        """An error of aiokafka as one line that names the brokers and what to do."""
        shown = str(error) or type(error).__name__
        where = f"Kafka at {','.join(self.brokers)}: {operation}: {shown}"
        if isinstance(error, LogError):
            return error
        if isinstance(error, _DENIED):
            return LogError(f"{where}: check the user, its password and its permissions")
        if isinstance(error, _NOT_ENOUGH_REPLICAS):
            return LogError(f"{where}: fewer brokers are up than min.insync.replicas requires: start them")
        if isinstance(error, MessageSizeTooLargeError):
            return LogError(f"{where}: expected at most {RECORD_BYTES_MAX} bytes a record")
        if isinstance(error, UnknownTopicOrPartitionError):
            return LogError(f"{where}: the topic does not exist, or the user may not see it")
        # aiokafka reports nothing more specific where a broker refused the connection's credentials, either.
        secured = ", and are user, password and certificates" if self.user is not None or self.ca is not None else ""
        return LogError(f"{where}: is it running, and is its address right{secured}? Trying again is safe")

    @contextmanager
    def translate_errors(self, operation: str) -> Iterator[None]:
        """Raises aiokafka's errors as LogError."""
        try:
            yield
        except (KafkaError, TimeoutError, OSError) as error:
            raise self.to_log_error(operation, error) from error

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """An admin client for one use. Raises LogError."""
        admin = AIOKafkaAdminClient(**self.client_config())
        with self.translate_errors("connect"):
            try:
                await admin.start()
                yield admin
            finally:
                await admin.close()

    def _ssl_context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=str(self.ca))
        except OSError as error:  # SSLError is one
            raise InputError(f"{self.ca}: {error}: expected certificates (PEM)") from error


def kafka_options(settings: Settings) -> KafkaOptions:
    """The options of Kafka from the settings. Raises InputError."""
    password = None
    if settings.kafka_password_file is not None:
        try:
            password = settings.kafka_password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"STARLOOP_KAFKA_PASSWORD_FILE: {settings.kafka_password_file} can't be read: {error}"
            ) from error
    return KafkaOptions(
        brokers=KafkaOptions.parse_brokers(settings.log),
        prefix=settings.log_prefix,
        partitions=settings.partitions,
        replication=settings.log_replication,
        user=settings.kafka_user,
        password=password,
        mechanism=settings.kafka_mechanism,
        ca=settings.kafka_ca,
    )
