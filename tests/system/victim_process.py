"""The process that is killed: log, Faust app and a small reactor, fed over a socket. Run as a script, it is a run_forker.

The run_forker imports everything once; each line on its standard input, a directory, makes it fork a child that serves that
directory until it is killed. A child prints its process number when it takes requests. A request is its length (4 bytes),
then `A` and records as of `join_records` (answer: the offset of the last one, 8 bytes, once they are on disk), or `D`
(answer: the length and JSON of the state, after everything is processed).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import struct
import sys
from pathlib import Path

from star.analyse import Facts
from stream.analysis_consumer import AnalysisConsumer
from stream.app import StreamOptions, build_app
from stream.state.checkpoint import CheckpointPolicy
from stream.topics import INPUT, topic_specs
from stream.transports.embedded_log.client import EmbeddedClient
from stream.transports.embedded_log.sqlite_log import SqliteLog
from tests.stream.counting_analysis import CountingAnalysis

LENGTH = struct.Struct("<I")
OFFSET = struct.Struct("<q")
FREQUENT_CHECKPOINTS = StreamOptions(checkpoint=CheckpointPolicy(every_s=0.5, records=15), commit_s=0.05)
"""Checkpoints so frequent that kills interrupt them."""


def join_records(wires: list[bytes]) -> bytes:
    """Records as the body of a request."""
    return b"".join(LENGTH.pack(len(wire)) + wire for wire in wires)


def split_records(body: bytes) -> list[bytes]:
    """The records of `join_records`."""
    wires, place = [], 0
    while place < len(body):
        (length,) = LENGTH.unpack_from(body, place)
        wires.append(body[place + LENGTH.size : place + LENGTH.size + length])
        place += LENGTH.size + length
    return wires


class Reactor:
    """Stores the facts of each tick in one transaction and skips known ones, like the real reactor."""

    def __init__(self, path: Path) -> None:
        self._conn = sqlite3.connect(path, isolation_level=None)
        self._conn.execute("PRAGMA journal_mode = WAL")
        self._conn.execute("CREATE TABLE IF NOT EXISTS facts (place INTEGER PRIMARY KEY, wire BLOB NOT NULL)")
        self.offset: int = self._conn.execute("SELECT coalesce(max(place), -1) FROM facts").fetchone()[0]

    async def react(self, partition: int, facts: Facts, written_ms: int) -> None:
        if facts.offset > self.offset:
            self._conn.execute("INSERT INTO facts VALUES (?, ?)", (facts.offset, facts.pack()))
            self.offset = facts.offset


async def serve(directory: Path) -> None:
    log = SqliteLog(directory / "log.db")
    analyses: list[CountingAnalysis] = []

    def make(partition: int) -> CountingAnalysis:
        analyses.append(CountingAnalysis())
        return analyses[-1]

    reactor = Reactor(directory / "store.db")
    client = EmbeddedClient(log, topic_specs())
    await client.start()
    app = build_app(log, client, make, FREQUENT_CHECKPOINTS)
    handing = asyncio.create_task(AnalysisConsumer(client, reactor.react, commit_s=0.05).run())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = await reader.readexactly(LENGTH.unpack(await reader.readexactly(LENGTH.size))[0])
            if body[:1] == b"A":
                wires = split_records(body[1:])
                writer.write(OFFSET.pack(await log.append_async(INPUT, wires) + len(wires) - 1))
                continue
            while reactor.offset < log.end(INPUT) - 1:  # noqa: ASYNC110 - every batch ends with a tick; there is no event
                await asyncio.sleep(0.01)
            state = {"totals": sorted(analyses[-1].totals().items()), "events": analyses[-1].events}
            wire = json.dumps(state).encode()
            writer.write(LENGTH.pack(len(wire)) + wire)

    await asyncio.start_unix_server(answer, directory / "socket")
    starting = asyncio.create_task(app.start())
    print(os.getpid(), flush=True)
    await starting
    await asyncio.wait({handing, asyncio.create_task(app.wait_for_failure())}, return_when=asyncio.FIRST_COMPLETED)


def run_forker() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            directory = Path(line.strip())
            os.chdir(directory)  # a socket's path may be 107 bytes long, a test's directory longer
            (directory / "socket").unlink(missing_ok=True)
            asyncio.run(serve(Path()))
            os._exit(1)


if __name__ == "__main__":
    run_forker()
