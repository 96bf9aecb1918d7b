"""Simulation of a power cut: truncates the write-ahead log of a SQLite log at a byte after the last flush.

A process killed with -9 leaves every byte that it wrote, flushed or not; a power cut may leave less. The frames that were
surely flushed are those whose commits were acknowledged to someone, and those that a checkpoint moved on.
"""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from stream.transports.embedded_log.sqlite_log import SqliteLog

WAL_HEAD_BYTES = 32
FRAME_HEAD_BYTES = 24
MOVED_AT = 128
"""Where the shared-memory file keeps how many frames a checkpoint has tried to move into the main file."""


def commit_ends(wal: bytes) -> list[int]:
    """The byte after each commit's last frame, of the frames that belong to the log's present run."""
    if len(wal) < WAL_HEAD_BYTES:
        return []
    page_bytes = struct.unpack_from(">I", wal, 8)[0]
    salts = wal[16:24]
    ends = []
    place = WAL_HEAD_BYTES
    while place + FRAME_HEAD_BYTES + page_bytes <= len(wal) and wal[place + 8 : place + 16] == salts:
        after = place + FRAME_HEAD_BYTES + page_bytes
        if struct.unpack_from(">I", wal, place + 4)[0]:
            ends.append(after)
        place = after
    return ends


def moved_bytes(directory: Path, wal: bytes) -> int:
    """The part of the write-ahead log that a checkpoint has begun to move, and so had flushed before."""
    shared = (directory / "log.db-shm").read_bytes()
    page_bytes = struct.unpack_from(">I", wal, 8)[0]
    return WAL_HEAD_BYTES + struct.unpack_from("=I", shared, MOVED_AT)[0] * (FRAME_HEAD_BYTES + page_bytes)


def cut_power(directory: Path, rng: random.Random, holds: Callable[[SqliteLog], bool]) -> int:
    """Cuts the dead log's write-ahead log at a random byte after the first commit with which `holds` is true of it.

    Gives how many bytes went.
    """
    wal_path = directory / "log.db-wal"
    wal = wal_path.read_bytes() if wal_path.exists() else b""
    ends = [0, *commit_ends(wal)]
    if len(ends) == 1:
        return 0
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if _holds_when_cut(directory, wal[: ends[middle]], holds):
            high = middle
        else:
            low = middle + 1
    flushed = min(max(ends[low], moved_bytes(directory, wal), WAL_HEAD_BYTES), len(wal))
    cut = rng.randint(flushed, len(wal))
    wal_path.write_bytes(wal[:cut])
    return len(wal) - cut


def _holds_when_cut(directory: Path, wal: bytes, holds: Callable[[SqliteLog], bool]) -> bool:
    trial = directory / "trial"
    trial.mkdir()
    try:
        shutil.copyfile(directory / "log.db", trial / "log.db")
        (trial / "log.db-wal").write_bytes(wal)
        with SqliteLog(trial / "log.db") as log:
            return holds(log)
    finally:
        shutil.rmtree(trial)
