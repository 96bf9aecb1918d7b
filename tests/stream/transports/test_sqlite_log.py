"""The embedded log: appended records survive whatever happens to the process, the disk or the file."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from star.errors import DiskFull, LogDamaged, LogError
from star.ports import Log
from stream.transports.embedded_log.log_file import PAGE_BYTES
from stream.transports.embedded_log.sqlite_log import SqliteLog


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with SqliteLog(tmp_path / "log.db") as log:
        yield log


def values_of(log: SqliteLog, topic: str) -> list[bytes]:
    return [value for _, value in log.read(topic, 0, 1_000_000)]


def fill(log: SqliteLog, values: list[bytes]) -> None:
    for value in values:
        log.append("input", [value])


def test_a_record_keeps_its_number_and_place_over_a_restart(tmp_path: Path) -> None:
    """Offsets count from 0 without gaps, in the order of appends, and go on after the log was closed."""
    with SqliteLog(tmp_path / "log.db") as log:
        port: Log = log
        assert port.append("input", [b"a", b"b"]) == 0
        assert port.append("input", [b"c"]) == 2
        assert port.append("other", [b"x"]) == 0
        assert port.end("input") == 3
        assert port.read("input", 1, 1) == [(1, b"b")]
        assert port.read("nowhere", 0, 10) == []
        assert log.begin("nowhere") == log.end("nowhere") == 0
    with SqliteLog(tmp_path / "log.db") as log:
        assert log.append("input", [b"d"]) == 3
        assert values_of(log, "input") == [b"a", b"b", b"c", b"d"]
        assert log.topics() == ["input", "other"]
        log.check_integrity()


def test_readings_and_what_was_quarantined_with_them_are_written_together(log: SqliteLog) -> None:
    """One batch over several topics is all or nothing, and each topic keeps its own order."""
    offsets = log.append_batch([("input", None, b"1"), ("quarantine", None, b"q"), ("input", None, b"2")])
    assert offsets == [0, 0, 1]
    assert values_of(log, "input") == [b"1", b"2"]
    with pytest.raises(LogError, match="expected at most"):
        log.append_batch([("input", None, b"3"), ("input", None, bytes(33 << 20))])
    assert log.end("input") == 2


async def test_many_devices_sending_at_once_share_one_flush(log: SqliteLog) -> None:
    """A thousand concurrent appends from an event loop and threads all arrive, each once, in each caller's order."""

    def from_thread(name: int) -> None:
        for nth in range(50):
            log.append("input", [b"%d:%d" % (name, nth)])

    threads = [threading.Thread(target=from_thread, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(log.append_async("input", [b"9:%d" % nth]) for nth in range(800)))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    values = values_of(log, "input")
    assert len(values) == len(set(values)) == 1_000
    for name, count in ((0, 50), (3, 50), (9, 800)):
        mine = [int(value.split(b":")[1]) for value in values if value.startswith(b"%d:" % name)]
        assert mine == list(range(count))


async def test_a_waiting_reader_is_woken_by_an_append_from_another_thread(log: SqliteLog) -> None:
    """There is no polling: the listener runs after the commit, when the record can be read."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    leave = log.add_commit_listener(lambda: loop.call_soon_threadsafe(woken.set))
    threading.Timer(0.05, lambda: log.append("input", [b"x"])).start()
    await asyncio.wait_for(woken.wait(), timeout=5)
    assert values_of(log, "input") == [b"x"]
    leave()
    woken.clear()
    await log.append_async("input", [b"y"])
    await asyncio.sleep(0.02)
    assert not woken.is_set()


async def test_a_log_that_is_flooded_makes_its_writers_wait(log: SqliteLog) -> None:
    """Pending bytes stay near their limit, however much is appended."""
    most = 0

    async def one() -> None:
        nonlocal most
        await log.append_async("input", [bytes(4 << 20)])
        most = max(most, log.pending_bytes)

    await asyncio.gather(*(one() for _ in range(30)))
    assert log.end("input") == 30
    assert most <= 120 << 20
    assert log.pending_bytes == 0


def test_a_table_s_changelog_keeps_the_latest_of_each_key(log: SqliteLog) -> None:
    """Of a compacted topic each key is read once, at its latest offset; a deleted key reads as deleted."""
    log.create("blocks", compacted=True)
    log.append_batch([("blocks", b"k", b"1"), ("blocks", b"l", b"2"), ("blocks", b"k", b"3"), ("blocks", b"l", None)])
    assert [(r.offset, r.key, r.value) for r in log.read_records("blocks", 0, 10)] == [(2, b"k", b"3"), (3, b"l", None)]
    assert log.end("blocks") == 4
    with pytest.raises(LogError, match="kind can't be changed"):
        log.create("blocks")


def test_old_records_are_deleted_but_never_before_they_are_handled(tmp_path: Path) -> None:
    """Retention by age and by size; a consumer's uncommitted records and the last record stay."""
    now = [1_000]
    with SqliteLog(tmp_path / "log.db", now_ms=lambda: now[0]) as log:
        log.create("input", retain_ms=500)
        log.create("small", retain_bytes=25)
        for nth in range(10):
            now[0] = 1_000 + nth * 100
            log.append_batch([("input", None, b"%d" % nth), ("small", None, b"0123456789")])
        log.commit("stream", {"input": 2})
        assert log.enforce_retention() == 2 + 8
        assert log.begin("input") == 2
        assert log.begin("small") == 8
        log.commit("stream", {"input": 10})
        now[0] = 10_000
        log.enforce_retention()
        assert values_of(log, "input") == [b"9"]
        assert log.append("input", [b"x"]) == 10


def test_a_consumer_continues_at_its_committed_offset(tmp_path: Path) -> None:
    """Committed offsets are kept by consumer and topic, over a restart."""
    with SqliteLog(tmp_path / "log.db") as log:
        assert log.committed("stream", "input") is None
        log.commit("stream", {"input": 7, "facts": 2})
    with SqliteLog(tmp_path / "log.db") as log:
        assert log.committed("stream", "input") == 7
        assert log.committed("stream", "facts") == 2


def test_a_full_disk_refuses_records_until_there_is_room_again(tmp_path: Path) -> None:
    """DiskFull names the file; what was acknowledged before stays; after making room the next append works."""
    with SqliteLog(tmp_path / "log.db", size_max_bytes=64 * PAGE_BYTES) as log:
        log.create("input", retain_bytes=3 * PAGE_BYTES)
        with pytest.raises(DiskFull, match=r"log\.db: no room"):
            fill(log, [bytes(PAGE_BYTES)] * 100)
        acknowledged = log.end("input")
        assert 10 < acknowledged < 64
        assert len(values_of(log, "input")) == acknowledged
        log.enforce_retention()
        assert log.append("input", [b"again"]) == acknowledged
        log.check_integrity()


def test_a_disk_that_refuses_to_grow_the_file_is_reported_and_survived(tmp_path: Path) -> None:
    """The same with the kernel refusing the write (a limit on file size stands for a full disk)."""
    script = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from star.errors import DiskFull
        from stream.transports.embedded_log.sqlite_log import SqliteLog
        log = SqliteLog(Path(sys.argv[1]))
        log.append("input", [b"first"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        count = 0
        try:
            while True:
                log.append("input", [bytes(50_000)])
                count += 1
        except DiskFull as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(count, log.append("input", [b"again"]))
        log.check_integrity()
        log.close()
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log.db")], capture_output=True, text=True, timeout=60, check=True
    )
    error, counts = done.stdout.splitlines()
    count, again = map(int, counts.split())
    assert "no room to write" in error
    assert 0 < count < again + 1 == count + 2


def test_two_services_can_t_own_one_data_directory(log: SqliteLog, tmp_path: Path) -> None:
    """The second one's error names the owner; a read-only log beside it is allowed, and can't write."""
    with pytest.raises(LogError, match=r"in use by process \d+: stop it"):
        SqliteLog(tmp_path / "log.db")
    log.append("input", [b"a"])
    with SqliteLog(tmp_path / "log.db", read_only=True) as reader:
        assert values_of(reader, "input") == [b"a"]
        assert reader.end("input") == 1
        assert reader.topics() == ["input"]
        with pytest.raises(LogError, match="for reading only"):
            reader.append("input", [b"b"])


def test_a_stopped_service_s_log_can_be_read(tmp_path: Path) -> None:
    """Read-only opening works after a clean stop, and a missing log is named."""
    with SqliteLog(tmp_path / "log.db") as log:
        log.append("input", [b"a"])
    with SqliteLog(tmp_path / "log.db", read_only=True) as reader:
        assert values_of(reader, "input") == [b"a"]
    with pytest.raises(LogError, match="no such log"):
        SqliteLog(tmp_path / "other.db", read_only=True)


@pytest.mark.parametrize("content", [b"not a database at all" * 500, b"SQLite format 3\0" + bytes(8_000)])
def test_a_damaged_log_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    """One line names the file and what to do."""
    (tmp_path / "log.db").write_bytes(content)
    with pytest.raises(LogDamaged, match=r"log\.db: .*"):
        SqliteLog(tmp_path / "log.db")
    (tmp_path / "log.db").unlink()
    with SqliteLog(tmp_path / "log.db") as log:
        assert log.append("input", [b"the directory is free again"]) == 0


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    """A SQLite file of another program is refused, and not written to."""
    conn = sqlite3.connect(tmp_path / "log.db")
    conn.execute("CREATE TABLE recipes (name TEXT)")
    conn.close()
    with pytest.raises(LogDamaged, match="another program"):
        SqliteLog(tmp_path / "log.db")


def test_damage_in_the_middle_is_found_when_it_is_read(tmp_path: Path) -> None:
    """A page overwritten with noise raises LogDamaged when it is read or checked; garbage is never returned."""
    with SqliteLog(tmp_path / "log.db") as log:
        log.append("input", [b"%07d" % nth for nth in range(20_000)])
    whole = bytearray((tmp_path / "log.db").read_bytes())
    whole[10 * PAGE_BYTES : 11 * PAGE_BYTES] = random.Random(3).randbytes(PAGE_BYTES)
    (tmp_path / "log.db").write_bytes(whole)
    with SqliteLog(tmp_path / "log.db") as log:
        with pytest.raises(LogDamaged):
            log.read("input", 0, 20_000)
        with pytest.raises(LogDamaged, match=r"log\.db"):
            log.check_integrity()


def copied(source: Path, target: Path, wal_bytes: int) -> Path:
    """The log's files after a power failure: the main file, and the first `wal_bytes` of the write-ahead log."""
    target.mkdir()
    shutil.copyfile(source / "log.db", target / "log.db")
    (target / "log.db-wal").write_bytes((source / "log.db-wal").read_bytes()[:wal_bytes])
    return target / "log.db"


def test_every_flushed_record_survives_a_power_failure_at_any_byte(tmp_path: Path) -> None:
    """A write-ahead log cut at any byte after the last reported flush opens with every reported record."""
    rng = random.Random(7)
    home = tmp_path / "home"
    home.mkdir()
    with SqliteLog(home / "log.db") as log:
        for _ in range(20):
            log.append("input", [rng.randbytes(rng.randrange(1, 20_000)) for _ in range(rng.randrange(1, 4))])
        flushed_bytes = (home / "log.db-wal").stat().st_size
        flushed = values_of(log, "input")
        for _ in range(5):
            log.append("input", [rng.randbytes(rng.randrange(1, 20_000))])
        whole_bytes = (home / "log.db-wal").stat().st_size
        everything = values_of(log, "input")
        cuts = [flushed_bytes, flushed_bytes + 1, whole_bytes - 1, whole_bytes]
        cuts += [rng.randrange(flushed_bytes, whole_bytes) for _ in range(40)]
        for nth, cut in enumerate(cuts):
            with SqliteLog(copied(home, tmp_path / f"cut-{nth}", cut)) as after:
                found = values_of(after, "input")
                assert found[: len(flushed)] == flushed
                assert found == everything[: len(found)]
                assert after.append("input", [b"goes on"]) == len(found)


def test_a_power_failure_while_the_main_file_grows_loses_nothing(tmp_path: Path) -> None:
    """The main file cut at any byte after its length before a checkpoint, with the write-ahead log complete."""
    rng = random.Random(11)
    home = tmp_path / "home"
    home.mkdir()
    with SqliteLog(home / "log.db") as log:
        log.append("input", [rng.randbytes(5_000) for _ in range(100)])
        everything = values_of(log, "input")
        before = (home / "log.db").read_bytes()
        ahead = (home / "log.db-wal").read_bytes()
    after = (home / "log.db").read_bytes()
    assert len(after) > len(before)
    for nth in range(25):
        cut = rng.randrange(len(before), len(after))
        target = tmp_path / f"cut-{nth}"
        target.mkdir()
        (target / "log.db").write_bytes(after[:cut])
        (target / "log.db-wal").write_bytes(ahead)
        with SqliteLog(target / "log.db") as opened:
            assert values_of(opened, "input") == everything


def test_a_closed_log_refuses_and_may_be_closed_twice(tmp_path: Path) -> None:
    """After close an append raises LogError instead of hanging."""
    log = SqliteLog(tmp_path / "log.db")
    log.close()
    log.close()
    with pytest.raises(LogError, match="closed"):
        log.append("input", [b"x"])


def test_an_event_loop_that_closed_does_not_stop_the_log(log: SqliteLog) -> None:
    """A caller or reader that is gone does no harm: the next append works."""

    async def hand_in() -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        log.add_commit_listener(lambda: loop.call_soon_threadsafe(print))
        for _ in range(50):
            log.append_batch_nowait([("input", None, bytes(100_000))])
        return loop

    assert asyncio.run(hand_in()).is_closed()
    assert log.append("input", [b"x"]) == 50
    assert log.append("input", [b"y"]) == 51


def test_a_killed_service_s_log_can_be_read_by_a_command(tmp_path: Path) -> None:
    """Records that are only in the write-ahead log are read too, and nothing is written."""
    home = tmp_path / "home"
    home.mkdir()
    with SqliteLog(home / "log.db") as log:
        log.append("input", [b"a", b"b"])
        path = copied(home, tmp_path / "killed", (home / "log.db-wal").stat().st_size)
    before = path.read_bytes()
    with SqliteLog(path, read_only=True) as reader:
        assert values_of(reader, "input") == [b"a", b"b"]
        assert reader.begin("input") == 0
        assert reader.committed("stream", "input") is None
    assert path.read_bytes() == before


def test_a_data_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error names the path and what was expected."""
    with pytest.raises(LogError, match=r"nowhere.*expected a directory to write in"):
        SqliteLog(tmp_path / "nowhere" / "log.db")


def test_one_request_s_error_does_not_fail_the_others_in_its_group(log: SqliteLog) -> None:
    """A request that raises is rolled back alone; those queued beside it are on disk."""
    log.create("blocks", compacted=True)

    async def together() -> list[object]:
        good = [log.append_async("input", [b"%d" % nth]) for nth in range(20)]
        bad = asyncio.to_thread(log.create, "blocks")
        return await asyncio.gather(*good, bad, return_exceptions=True)

    results = asyncio.run(together())
    assert sorted(result for result in results if isinstance(result, int)) == list(range(20))
    assert len([result for result in results if isinstance(result, LogError)]) == 1
    assert log.end("input") == 20


async def test_appending_nothing_writes_nothing(log: SqliteLog) -> None:
    """The offset returned is that of the next record."""
    assert log.append("input", []) == 0
    assert await log.append_async("input", []) == 0
    assert log.topics() == []
