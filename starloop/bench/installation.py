"""Temporary installation for a benchmark: topics, consumer groups and a database on the configured Kafka and PostgreSQL.

Roles run on it in processes of their own. Everything is deleted afterwards, and the user's own installation is not touched.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from config.settings import Settings
from star.errors import InputError, StarloopError
from stream.transports.kafka_log.options import kafka_options

READY_S_MAX = 120.0
STOP_S_MAX = 40.0
POLL_S = 0.02
"""Polling interval of processes and of the log, in seconds: resolution of the measured times."""
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_log = structlog.get_logger("bench")


@dataclass(slots=True, kw_only=True)
class WorkerProcess:
    """Process of a role. started_s: monotonic; ready_s: from start to its ready line."""

    process: asyncio.subprocess.Process
    log: Path
    started_s: float
    ready_s: float = 0.0

    def cpu_s(self) -> float:
        """CPU time used so far, user and system, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.process.send_signal(signal.SIGKILL)

    def raise_if_ended(self) -> None:
        """Raises StarloopError if the process has ended."""
        if self.process.returncode is not None:
            raise StarloopError(f"a worker ended with status {self.process.returncode}: {self.log.read_text()[-500:]}")

    async def stop(self) -> None:
        """Sends SIGTERM and waits, then kills."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()


@dataclass(slots=True, kw_only=True)
class Installation:
    """Log and store of a benchmark. variables: environment of its roles."""

    folder: Path
    settings: Settings
    variables: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    async def run(self, role: str) -> WorkerProcess:
        """Starts a role, and returns when it is ready. Raises StarloopError if it does not start."""
        name = f"{role}-{len(self.workers)}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "starloop", "run", role, "--data", str(self.folder / name)),
                env={**os.environ, **self.variables, "STARLOOP_INSTANCE": name},
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        worker = WorkerProcess(process=process, log=log, started_s=time.monotonic())
        self.workers.append(worker)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_S_MAX):
                ready = await process.stdout.readline()
        except TimeoutError:
            raise StarloopError(f"{role} was not ready within {READY_S_MAX:g} s: {log.read_text()[-500:]}") from None
        if not ready:
            raise StarloopError(f"{role} did not start: {log.read_text()[-500:]}")
        worker.ready_s = time.monotonic() - worker.started_s
        return worker


@asynccontextmanager
async def temporary_installation(folder: Path, settings: Settings, **variables: str) -> AsyncIterator[Installation]:
    """A temporary installation while the block runs.

    Raises InputError unless the settings name Kafka and PostgreSQL, and StarloopError if one of them denies access.
    """
    if settings.log == "embedded" or not settings.store.startswith("postgresql"):
        raise InputError(
            "expected STARLOOP_LOG=kafka://host:port and STARLOOP_STORE=postgresql+psycopg://user@host/name"
        )
    name = f"starloop_bench_{time.time_ns() // 1_000_000}"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    _administer(settings.store, f"CREATE DATABASE {name}")
    url = make_url(settings.store).set(database=name).render_as_string(hide_password=False)
    own = {
        "log_prefix": f"{name.replace('_', '-')}-",
        "store": url,
        "partitions": settings.partitions or 32,
        "data_dir": folder / "bench",
    }
    temporary = settings.model_copy(update=own)
    environment = {f"STARLOOP_{key.upper()}": str(value) for key, value in own.items() if key != "data_dir"}
    environment |= {
        "STARLOOP_LOG": settings.log,
        "STARLOOP_HEALTH_PORT": "0",
        "STARLOOP_LOG_LEVEL": "info",
        **variables,
    }
    installation = Installation(folder=folder, settings=temporary, variables=environment)
    try:
        yield installation
    finally:
        for worker in installation.workers:
            await worker.stop()
        await _delete_topics(temporary)
        _administer(settings.store, f"DROP DATABASE {name} WITH (FORCE)")


async def _delete_topics(settings: Settings) -> None:
    """Deletes the topics with the prefix of the installation."""
    async with kafka_options(settings).admin() as admin:
        topics = [name for name in await admin.list_topics() if name.startswith(settings.log_prefix)]
        try:
            await admin.delete_topics(topics)
        except KafkaError as error:
            _log.warning("left_topics", prefix=settings.log_prefix, error=str(error))


def _administer(store: str, statement: str) -> None:
    engine = create_engine(store, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    except SQLAlchemyError as error:
        raise StarloopError(
            f"{statement}: {str(error).splitlines()[0]}: the benchmark needs a user who can create databases"
        ) from error
    finally:
        engine.dispose()
