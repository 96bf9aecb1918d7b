"""The format of log.db: this build opens the logs of earlier builds, and refuses a newer one's in words and unchanged."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from operations.diagnostics.data import log_findings
from star.errors import LogDamaged, NewerFormat
from stream.transports.embedded_log.log_file import FORMAT
from stream.transports.embedded_log.sqlite_log import LOG_NAME, SqliteLog
from tests.golden.recorded import FOLDER

NEWER = FORMAT + 1


def set_format(path: Path, number: int) -> None:
    """Writes the number of a format into a log's file."""
    conn = sqlite3.connect(path)
    conn.execute(f"PRAGMA user_version = {number}")
    conn.close()


def files_of(directory: Path) -> dict[str, bytes]:
    """The log's file, and its write-ahead log where that holds anything: SQLite leaves an empty one behind a reader."""
    found = {path.name: path.read_bytes() for path in directory.glob(f"{LOG_NAME}*") if not path.name.endswith("-shm")}
    return {name: content for name, content in found.items() if content}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory that build 6a71ff1 wrote, whose log now says that it is of a newer format."""
    with tarfile.open(FOLDER / "data" / "6a71ff1" / "data.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    with SqliteLog(tmp_path / "data" / LOG_NAME) as log:
        assert log.end("input") > 0
    set_format(tmp_path / "data" / LOG_NAME, NEWER)
    return tmp_path / "data"


@pytest.mark.parametrize(
    "command",
    [
        ("up", "--fleet", "{data}/fleet.toml", "--mqtt-port", "0", "--http-port", "0", "--data", "{data}"),
        ("log", "export", "--data", "{data}"),
    ],
)
def test_a_newer_log_is_refused_in_words_and_left_unchanged(command: tuple[str, ...], data: Path) -> None:
    """One line names the file, both formats and what to do; not a byte of the log changes."""
    before = files_of(data)
    arguments = [part.format(data=data) for part in command]
    done = subprocess.run(
        [sys.executable, "-m", "starloop", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("starloop: ")]
    assert lines == [
        f"starloop: the log {data / LOG_NAME} is of format {NEWER}, written by a newer Starloop:"
        f" this one reads formats up to {FORMAT}. Run that version or a later one"
    ]
    assert "Traceback" not in done.stderr
    assert files_of(data) == before


def test_doctor_reports_a_newer_log_among_its_findings(data: Path) -> None:
    """A failed check with the same words, and not the end of the command."""
    (finding,) = log_findings(data / LOG_NAME, 0)
    assert f"is of format {NEWER}, written by a newer Starloop" in str(finding)


def test_a_newer_log_that_was_killed_keeps_its_write_ahead_log(tmp_path: Path) -> None:
    """The records that are not in the main file yet stay where they are, and so does the format's number among them."""
    (tmp_path / "home").mkdir()
    (tmp_path / "killed").mkdir()
    with SqliteLog(tmp_path / "home" / LOG_NAME) as log:
        log.append("input", [b"a"])
        set_format(tmp_path / "home" / LOG_NAME, NEWER)
        for path in (tmp_path / "home").glob(f"{LOG_NAME}*"):
            shutil.copyfile(path, tmp_path / "killed" / path.name)
    before = files_of(tmp_path / "killed")
    assert len(before) == 2
    for read_only in (False, True):
        with pytest.raises(NewerFormat, match=f"format {NEWER}"):
            SqliteLog(tmp_path / "killed" / LOG_NAME, read_only=read_only)
        assert files_of(tmp_path / "killed") == before


def test_another_program_s_database_is_no_newer_log(tmp_path: Path) -> None:
    """Whatever number of a format it has of its own."""
    conn = sqlite3.connect(tmp_path / LOG_NAME)
    conn.execute("CREATE TABLE recipes (name TEXT)")
    conn.close()
    set_format(tmp_path / LOG_NAME, NEWER)
    before = files_of(tmp_path)
    with pytest.raises(LogDamaged, match="another program"):
        SqliteLog(tmp_path / LOG_NAME)
    assert files_of(tmp_path) == before
