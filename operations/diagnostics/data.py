"""Checks of the data directory: permissions, free disk space, integrity of the log, quarantine.

Everything is opened read-only, so the checks can run while the service runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from config.settings import Settings
from operations.diagnostics.finding import Finding, fail, ok, warn
from operations.diagnostics.formats import format_finding
from operations.diagnostics.roles import role_finding
from runtime.service_discovery import RunningService, find_running_service, lock_holder
from star.errors import DiskFull, InputError, LogDamaged, LogError, NewerFormat, StarloopError, Unavailable
from star.times import DAY_MS, utc
from stream.partition.partitioner import decode_quarantined
from stream.topics import INPUT, QUARANTINE
from stream.transports.embedded_log.sqlite_log import LOG_NAME, SqliteLog

FREE_SPACE_COMFORT_FACTOR = 10
"""Free space below this multiple of the minimum is a warning: it trades early notice against false alarms on small disks."""
CLOCK_SLACK_MS = 60_000
"""Tolerance for log records ahead of the clock, in milliseconds: the clock may be corrected by that much."""
HEALTH_PATH = "/api/v1/items?limit=1"


def data_findings(settings: Settings, now_ms: int) -> Iterator[Finding]:
    """All findings of the data directory. now_ms: by the clock of this machine."""
    folder = settings.data_dir
    if not folder.is_dir():
        yield warn(
            "data", f"{folder} does not exist", "the first start creates it; or pass another directory with --data"
        )
        return
    yield access_finding(folder)
    yield format_finding(folder)
    yield free_space_finding(folder, settings.disk_free_bytes_min)
    yield service_finding(folder)
    if settings.log == "embedded":
        yield from log_findings(folder / LOG_NAME, now_ms)


def access_finding(folder: Path) -> Finding:
    """Whether this user can read and write the directory."""
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return fail(
            "data", f"{folder} is not writable by this user", "chown it to the service's user, or run as that user"
        )
    return ok("data", f"{folder} is writable")


def free_space_finding(folder: Path, free_min: int) -> Finding:
    """Whether the disk has enough free space. Below the minimum the service stops acknowledging readings."""
    free = shutil.disk_usage(folder).free
    said = f"{free / 2**30:.1f} GiB free"
    if free < free_min:
        return fail("disk", f"{said}: readings are not acknowledged", "free space on this disk")
    if free < free_min * FREE_SPACE_COMFORT_FACTOR:
        return warn("disk", said, f"free space: below {free_min / 2**30:.2g} GiB readings are not acknowledged")
    return ok("disk", said)


def service_finding(folder: Path) -> Finding:
    """Whether a service owns the directory and answers."""
    owner = lock_holder(folder)
    if owner is None:
        return ok("service", "not running")
    try:
        running = find_running_service(folder)
        if running is None:
            return warn(
                "service",
                f"process {owner} owns the directory but is not ready",
                "wait until it is ready, or check its log",
            )
        running.get_json(HEALTH_PATH)
        ready = role_finding(f"http://127.0.0.1:{running.http_port}")
    except Unavailable as error:
        return fail(
            "service",
            str(error),
            f"check its log; if process {owner} hangs, stop and restart it: it resumes where it stopped",
        )
    except InputError as error:
        return warn("service", str(error), "run doctor as the service's user, with the same version")
    if "is not ready" in ready.said:
        return fail("service", ready.said, ready.remedy)
    return ok("service", f"process {running.pid} answers: MQTT {running.mqtt_port}, HTTP {running.http_port}")


def log_findings(path: Path, now_ms: int) -> Iterator[Finding]:
    """Integrity of the log, the clock compared with its last record, and quarantine."""
    if not path.exists():
        yield ok("log", f"{path.name} does not exist yet")
        return
    try:
        with SqliteLog(path, read_only=True) as log:
            log.check_integrity()
            yield ok("log", f"intact, {path.stat().st_size / 2**20:.1f} MiB, {log.end(INPUT)} records of input")
            yield _last_record(log, now_ms)
            yield _quarantine(log, now_ms)
    except LogDamaged as error:
        yield fail("log", str(error), "stop the service, then restore log.db from a backup")
    except DiskFull as error:
        yield fail("log", str(error), "free space on this disk")
    except (LogError, NewerFormat) as error:
        yield fail("log", str(error), "run doctor as the service's user, with the version that wrote the log")


def _last_record(log: SqliteLog, now_ms: int) -> Finding:
    last = log.read_records(INPUT, max(log.end(INPUT) - 1, 0), 1)
    if last and last[-1].at_ms > now_ms + CLOCK_SLACK_MS:
        said = f"the last log record is dated {utc(last[-1].at_ms).isoformat(timespec='seconds')}, in the future"
        return fail("clock and log", said, "set the clock (timedatectl set-ntp true), or wait until it catches up")
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
    return warn("quarantine", said, "see the quarantine page of the console") if recent else ok("quarantine", said)


def running_service_or_none(folder: Path) -> RunningService | None:
    """The running service, or None if there is none or its file is unreadable, which `service_finding` reports."""
    try:
        return find_running_service(folder)
    except StarloopError:
        return None
