"""The data directory: who owns it, room on its disk, the log whole and readable, what lies in quarantine.

Everything is opened for reading only, so it may be looked at beside the running service.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok, warn
from operations.diagnostics.roles import role_finding
from runtime.service_discovery import RunningService, find_running_service, lock_holder
from star.errors import DiskFull, InputError, LogDamaged, LogError, NewerFormat, StarloopError, Unavailable
from star.times import DAY_MS, utc
from stream.partition.partitioner import decode_quarantined
from stream.topics import INPUT, QUARANTINE
from stream.transports.embedded_log.sqlite_log import LOG_NAME, SqliteLog

FREE_SPACE_COMFORT_FACTOR = 10
"""So many times the least free room is still comfortable."""
CLOCK_SLACK_MS = 60_000
"""A record of the log may be this far ahead of the clock."""
HEALTH_PATH = "/api/v1/items?limit=1"


def data_findings(settings: Settings, now_ms: int) -> Iterator[Finding]:
    """All of them."""
    folder = settings.data_dir
    if not folder.is_dir():
        yield warn("data", f"{folder} is not there", "it is made at the first start; or name another one with --data")
        return
    yield access_finding(folder)
    yield free_space_finding(folder, settings.disk_free_bytes_min)
    yield service_finding(folder)
    if settings.log == "embedded":
        yield from log_findings(folder / LOG_NAME, now_ms)


def access_finding(folder: Path) -> Finding:
    """Whether this user may read and write here."""
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return fail(
            "data", f"{folder} can't be written by this user", "chown it to the service's user, or run as that one"
        )
    return ok("data", f"{folder} can be written")


def free_space_finding(folder: Path, free_min: int) -> Finding:
    """Whether there is room: below the least, readings are no longer acknowledged."""
    free = shutil.disk_usage(folder).free
    said = f"{free / 2**30:.1f} GiB free"
    if free < free_min:
        return fail("disk", f"{said}: readings are not acknowledged", "free some room on this disk")
    if free < free_min * FREE_SPACE_COMFORT_FACTOR:
        return warn("disk", said, f"free some room: below {free_min / 2**30:.2g} GiB readings are not acknowledged")
    return ok("disk", said)


def service_finding(folder: Path) -> Finding:
    """Whether a service runs here, and answers."""
    owner = lock_holder(folder)
    if owner is None:
        return ok("service", "none is running here")
    try:
        running = find_running_service(folder)
        if running is None:
            return warn(
                "service",
                f"process {owner} owns the directory, but is not ready",
                "wait for its ready line, or see its log",
            )
        running.get_json(HEALTH_PATH)
        ready = role_finding(f"http://127.0.0.1:{running.http_port}")
    except Unavailable as error:
        return fail(
            "service", str(error), f"see its log; stop process {owner} if it hangs: it starts again where it was"
        )
    except InputError as error:
        return warn("service", str(error), "run doctor as the service's user, from the same version")
    if "is not ready" in ready.said:
        return fail("service", ready.said, ready.remedy)
    return ok("service", f"process {running.pid} answers: MQTT {running.mqtt_port}, HTTP {running.http_port}")


def log_findings(path: Path, now_ms: int) -> Iterator[Finding]:
    """Whether the log is whole, and what it says of the clock and of quarantine."""
    if not path.exists():
        yield ok("log", f"{path.name} is not there yet")
        return
    try:
        with SqliteLog(path, read_only=True) as log:
            log.check_integrity()
            yield ok("log", f"whole, {path.stat().st_size / 2**20:.1f} MiB, {log.end(INPUT)} records of input")
            yield _last_record(log, now_ms)
            yield _quarantine(log, now_ms)
    except LogDamaged as error:
        yield fail("log", str(error), "stop the service, then restore log.db from a backup")
    except DiskFull as error:
        yield fail("log", str(error), "free some room on this disk")
    except (LogError, NewerFormat) as error:
        yield fail("log", str(error), "run doctor as the service's user, from the version that wrote it")


def _last_record(log: SqliteLog, now_ms: int) -> Finding:
    last = log.read_records(INPUT, max(log.end(INPUT) - 1, 0), 1)
    if last and last[-1].at_ms > now_ms + CLOCK_SLACK_MS:
        said = f"the log's last record is of {utc(last[-1].at_ms).isoformat(timespec='seconds')}, later than now"
        return fail("clock and log", said, "set the clock (timedatectl set-ntp true), or wait until it has caught up")
    return ok("clock and log", "the clock is not behind the log")


def _quarantine(log: SqliteLog, now_ms: int) -> Finding:
    end, first = log.end(QUARANTINE), log.begin(QUARANTINE)
    if end == first:
        return ok("quarantine", "empty")
    last = log.read_records(QUARANTINE, end - 1, 1)
    recent = bool(last) and last[0].at_ms > now_ms - DAY_MS
    age = "within the last day" if recent else "over a day ago"
    reason = f": {decode_quarantined(last[0].value).reason}" if last and last[0].value else ""
    said = f"{end - first} payloads, the last {age}{reason}"
    return (
        warn("quarantine", said, "look at them on the console's quarantine page") if recent else ok("quarantine", said)
    )


def running_service_or_none(folder: Path) -> RunningService | None:
    """The service here, or None where there is none or its file can't be read (which is a finding of its own)."""
    try:
        return find_running_service(folder)
    except StarloopError:
        return None
