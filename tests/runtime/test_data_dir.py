"""The list of a data directory's files: complete, and newer formats are refused in words."""

from __future__ import annotations

import importlib
import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from config.fleet_file import load_catalogue
from reactor.store.sql import SqlStore
from runtime.data_dir import DATA_FILES, LOG_FILE, SNAPSHOT_FILE, STORE_FILE, found_format, newer_files
from runtime.fleet_files import catalogue_at
from star.errors import NewerFormat, StarloopError
from starloop.cli import cli
from stream.transports.embedded_log.sqlite_log import SqliteLog

RECORDED = sorted((Path(__file__).parents[1] / "golden/data").iterdir())
NUMBERED = [file for file in DATA_FILES if file.format is not None]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A copy of the newest recorded data directory."""
    with tarfile.open(RECORDED[-1] / "data.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "data"


def set_newer_format(path: Path, query: str) -> None:
    """Changes the file's format number to 99."""
    if not query:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "PRAGMA user_version = 99" if "PRAGMA" in query else "UPDATE alembic_version SET version_num = '0099'"
        )


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.name)
def test_every_file_of_a_recorded_directory_is_listed(recorded: Path) -> None:
    """No service has left a file that DATA_FILES does not explain; SQLite's companions go with their database."""
    with tarfile.open(recorded / "data.tar.xz") as archive:
        names = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {name.removesuffix("-wal").removesuffix("-shm") for name in names} <= {file.name for file in DATA_FILES}


def test_a_recorded_directory_has_no_newer_format(data: Path) -> None:
    """Every numbered file is found, and its number is one that this build reads."""
    for file in NUMBERED:
        found = found_format(data / file.name, file)
        assert found is not None, file.name
        assert 0 <= found <= (file.format or 0), file.name
    assert list(newer_files(data)) == []


@pytest.mark.parametrize("file", NUMBERED, ids=lambda file: file.name)
def test_a_newer_format_is_found_and_doctor_names_it(file, data: Path) -> None:  # type: ignore[no-untyped-def]
    """The file and its format, for each numbered file; the other findings are given too."""
    set_newer_format(data / file.name, file.query)
    assert list(newer_files(data)) == [(file, 99)]
    done = CliRunner().invoke(cli, ["doctor", "--data", str(data), "--json"])
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["formats"]["state"] == "fail"
    assert f"{file.name} is of format 99" in findings["formats"]["said"]


@pytest.mark.parametrize("file", NUMBERED, ids=lambda file: file.name)
def test_the_listed_format_is_that_of_the_module_which_checks_it(file, data: Path) -> None:  # type: ignore[no-untyped-def]
    """The module's FORMAT; of the store, which counts its migrations, the format that opening the recorded store gives it."""
    if file.name == STORE_FILE:
        SqlStore(f"sqlite:///{data / STORE_FILE}").close()
        assert found_format(data / STORE_FILE, file) == file.format
    else:
        assert file.format == importlib.import_module(file.checked_by).FORMAT


def test_readers_refuse_a_newer_log_store_and_snapshot(data: Path) -> None:
    """Each with the file and both format numbers; nothing is changed."""
    numbered = {file.name: file for file in NUMBERED}
    for name in (LOG_FILE, STORE_FILE):
        set_newer_format(data / name, numbered[name].query)
        with pytest.raises(StarloopError, match="99"):
            SqliteLog(data / name) if name == LOG_FILE else SqlStore(f"sqlite:///{data / name}")
    set_newer_format(data / SNAPSHOT_FILE, "")
    catalogue = load_catalogue(data / "fleet.toml")
    with pytest.raises(NewerFormat, match=r"fleet\.in-force\.json is of format 99"):
        catalogue_at(data, catalogue, _EmptyLog(), 10)


class _EmptyLog:
    """A log without records. Implements star.ports.Log."""

    def append(self, topic: str, values: object) -> int:
        """Not used."""
        raise AssertionError(topic)

    def read(self, topic: str, start: int, limit: int) -> list[tuple[int, bytes]]:
        """No records."""
        return []

    def end(self, topic: str) -> int:
        """Always 0."""
        return 0


def test_a_missing_or_damaged_file_has_no_format(tmp_path: Path, data: Path) -> None:
    """Its reader reports it; the comparison of formats does not fail on it."""
    for file in NUMBERED:
        assert found_format(tmp_path / "absent", file) is None
        (data / file.name).write_bytes(b"damaged")
        for companion in data.glob(f"{file.name}-*"):
            companion.unlink()
        assert found_format(data / file.name, file) is None
    shutil.rmtree(data)
    assert list(newer_files(data)) == []
