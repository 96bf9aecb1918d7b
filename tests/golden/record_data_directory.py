"""Recording of a data directory of this build, for tests/golden/data: each release adds its own.

    .venv/bin/python -m tests.golden.record_data_directory v0.2.0

It takes about two minutes: `starloop demo` runs for 55 s with an MQTT client that leaves a persistent session behind, and the
commands that test_data_directories.py repeats are then run on the stopped service's files. The folder must not exist yet, as recorded
directories are never rewritten. The keys and tokens in it are made for the recording and of no other use.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic

import paho.mqtt.client as mqtt
from click.testing import CliRunner
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from runtime.data_dir import STORE_FILE
from starloop.cli import cli
from tests.golden.recorded import FOLDER
from tests.support.server_process import free_port

DEMO_S = 55.0
"""Duration of the demo: 45 days of history in 25 s, then half a minute at an hour a second."""
LISTEN_AFTER_S, LISTEN_S = 12.0, 2.0
"""When the MQTT client connects, and for how long: most reactions of the demo are published after it has left."""
LISTENER = "golden-listener"
REACTIONS_FILTER = "starloop/v1/+/reactions"
SESSION_NEVER_EXPIRES = 0xFFFF_FFFF
WHY_OPTIONS = ("", " --json", " --lang fr")
_ID_TABLES = ("needs", "reactions", "decisions")
_WAIT_S_MAX = 60.0


def run_demo(folder: Path) -> Path:
    """Runs the demo to its end; its data directory."""
    port = free_port()
    command = [sys.executable, "-m", "starloop", "demo", "--homes", "3", "--duration", f"{DEMO_S:g}"]
    command += ["--data", str(folder), "--mqtt-port", str(port), "--http-port", str(free_port())]
    with (folder / "output.txt").open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as demo:
        threading.Event().wait(LISTEN_AFTER_S)
        leave_session(port)
        status = demo.wait(DEMO_S + _WAIT_S_MAX)
    if status != 0:
        raise SystemExit(f"the demo ended with status {status}:\n{(folder / 'output.txt').read_text()}")
    return folder / "data"


def leave_session(port: int) -> None:
    """Subscribes to reactions in a session that never expires, and disconnects."""
    subscribed = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=LISTENER, protocol=mqtt.MQTTv5)
    client.on_connect = lambda connected, *_: connected.subscribe(REACTIONS_FILTER, qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    persistent = Properties(PacketTypes.CONNECT)
    persistent.SessionExpiryInterval = SESSION_NEVER_EXPIRES
    deadline_s = monotonic() + _WAIT_S_MAX
    while True:
        try:
            client.connect("127.0.0.1", port, clean_start=False, properties=persistent)
            break
        except OSError:
            if monotonic() > deadline_s:
                raise
            threading.Event().wait(0.5)
    client.loop_start()
    if not subscribed.wait(_WAIT_S_MAX):
        raise SystemExit("the broker did not acknowledge the subscription")
    threading.Event().wait(LISTEN_S)
    client.disconnect()
    client.loop_stop()


def record(data: Path, target: Path) -> None:
    """Writes the archive of the directory and what the commands print on it into `target`."""
    target.mkdir(parents=True)
    with tarfile.open(target / "data.tar.xz", "w:xz") as archive:
        archive.add(data, "data", filter=_without_owner)
    answers = {
        f"{id_}{option}": printed("why", *f"{id_}{option}".split(" "), "--data", str(data))
        for id_, option in _questions(data)
    }
    _write_gz(target / "why.json.gz", json.dumps(answers, ensure_ascii=False, indent=0).encode())
    (target / "forecast.json").write_text(printed("forecast", "--data", str(data), "--json"))
    with tempfile.TemporaryDirectory() as folder:
        exported, replayed = Path(folder) / "exported.jsonl", Path(folder) / "replayed.jsonl"
        printed("log", "export", "--data", str(data), "--out", str(exported))
        printed("replay", "--fleet", str(data / "fleet.toml"), "--readings", str(exported), "--out", str(replayed))
        _write_gz(target / "log-export.jsonl.gz", exported.read_bytes())
        reactions = [line for line in replayed.read_bytes().splitlines(keepends=True) if "tick" not in json.loads(line)]
        _write_gz(target / "reactions.jsonl.gz", b"".join(reactions))


def printed(*arguments: str) -> str:
    """The standard output of a command."""
    done = CliRunner().invoke(cli, arguments)
    if done.exit_code != 0:
        raise SystemExit(f"starloop {' '.join(arguments)} failed: {done.output or done.exception}")
    return done.stdout


def _questions(data: Path) -> Iterator[tuple[str, str]]:
    """(id, options) of every `why` to record: of each need, reaction and decision in the store."""
    with closing(sqlite3.connect(data / STORE_FILE)) as store:
        ids = {row[0] for table in _ID_TABLES for row in store.execute(f"SELECT id FROM {table}")}
    for id_ in sorted(ids):
        yield from ((id_, option) for option in WHY_OPTIONS)


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _write_gz(path: Path, body: bytes) -> None:
    path.write_bytes(gzip.compress(body, mtime=0))


def main() -> None:
    """Records the directory under the name given on the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("name", help="the release, such as v0.2.0")
    target = FOLDER / "data" / parser.parse_args().name
    if target.exists():
        raise SystemExit(f"{target} exists: a recorded directory is never rewritten")
    with tempfile.TemporaryDirectory(prefix="starloop-record-") as folder:
        record(run_demo(Path(folder)), target)


if __name__ == "__main__":
    main()
