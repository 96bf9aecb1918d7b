"""An installation for one benchmark: topics, groups and a database of its own on the Kafka and PostgreSQL of the settings.

Roles run on it as processes of their own. All of it goes afterwards; nothing of the user's own installation is touched.
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
"""Between looks at a process or at the log."""
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_log = structlog.get_logger("bench")


@dataclass(slots=True, kw_only=True)
class WorkerProcess:
    """A role's process. started_s: by the monotonic clock."""

    process: asyncio.subprocess.Process
    log: Path
    started_s: float
    ready_s: float = 0.0

    def cpu_s(self) -> float:
        """The CPU time that it has used so far, in user and system mode."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)

    def raise_if_ended(self) -> None:
        """Raises StarloopError where the process has ended."""
        if self.process.returncode is not None:
            raise StarloopError(f"a worker ended, status {self.process.returncode}: {self.log.read_text()[-500:]}")

    async def stop(self) -> None:
        """SIGTERM, and its end."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()


@dataclass(slots=True, kw_only=True)
class Installation:
    """Where roles of this benchmark find their log and store. variables: of their environment."""

    folder: Path
    settings: Settings
    variables: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    async def run(self, role: str) -> WorkerProcess:
        """Starts a role; returns when it says that it is ready."""
        name = f"{role}-{len(self.workers)}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "starloop", "run", role, "--data", str(self.folder / name)),
                env={**os.environ, **self.variables, "STARLOOP_INSTANCE": name},
                stdout=asyncio.subprocess.PIPE,
                stderr=said,
            )
        worker = WorkerProcess(process=process, log=log, started_s=time.monotonic())
        self.workers.append(worker)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_S_MAX):
                ready = await process.stdout.readline()
        except TimeoutError:
            raise StarloopError(f"{role} was not ready in {READY_S_MAX:g} s: {log.read_text()[-500:]}") from None
        if not ready:
            raise StarloopError(f"{role} did not start: {log.read_text()[-500:]}")
        worker.ready_s = time.monotonic() - worker.started_s
        return worker


@asynccontextmanager
async def temporary_installation(folder: Path, settings: Settings, **variables: str) -> AsyncIterator[Installation]:
    """An installation while the block runs. Raises InputError where the settings name no Kafka or no PostgreSQL, StarloopError
    where one of them does not let us."""
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
    mine = settings.model_copy(update=own)
    environment = {f"STARLOOP_{key.upper()}": str(value) for key, value in own.items() if key != "data_dir"}
    environment |= {
        "STARLOOP_LOG": settings.log,
        "STARLOOP_HEALTH_PORT": "0",
        "STARLOOP_LOG_LEVEL": "info",
        **variables,
    }
    found = Installation(folder=folder, settings=mine, variables=environment)
    try:
        yield found
    finally:
        for worker in found.workers:
            await worker.stop()
        await _delete_topics(mine)
        _administer(settings.store, f"DROP DATABASE {name} WITH (FORCE)")


async def _delete_topics(settings: Settings) -> None:
    """Deletes the topics."""
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
            f"{statement}: {str(error).splitlines()[0]}: the benchmark needs a user who may make databases"
        ) from error
    finally:
        engine.dispose()
