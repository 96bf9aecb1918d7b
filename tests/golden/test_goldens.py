"""The service does what it did at 6a71ff1: replays, facts and checkpoints, byte for byte."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from config.fleet_file import load_catalogue
from evaluation.deterministic_simulation import CHECKPOINT_POLICY, MemoryBlocks, MemoryLog
from models.onnx_scorer import load_scorer
from reactor.store.memory import MemoryMetricRegistry
from stream.analysis import Analysis
from stream.partition.partition_processor import SynchronousRunner
from stream.state.checkpoint import shards_of_partition
from stream.state.shard_file import unpack_shard
from stream.state.state_table import Table
from stream.topics import FACTS, INPUT
from tests.golden.recorded import FOLDER, agree, same_processor, unzipped
from tests.golden.reworded import as_worded_now

ROOT = Path(__file__).parents[2]
WEUSEDTO = ROOT / "tests/data/weusedto"
README = ROOT / "README.md"
REPLAYS = sorted(path.name for path in (FOLDER / "replay").iterdir() if path.name != "readme")
DIGESTED = {"forecast", "score", "tick"}


def starloop(*arguments: str) -> bytes:
    """What a command prints, run from the root of the repository."""
    done = subprocess.run([sys.executable, "-m", "starloop", *arguments], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def hold_to(folder: Path, printed: bytes) -> None:
    """Compares what a replay printed with what it printed at 6a71ff1."""
    reactions: list[str] = []
    days: dict[str, Any] = {}
    for line in printed.splitlines():
        row = json.loads(line)
        if row.get("type", "tick") in DIGESTED:
            days.setdefault(str(int(row["at"] // 86_400)), hashlib.sha256()).update(line + b"\n")
        else:
            reactions.append(line.decode())
    recorded = as_worded_now(unzipped(folder / "reactions.jsonl.gz").decode()).splitlines()
    if same_processor():
        assert reactions == recorded
        assert {day: digest.hexdigest() for day, digest in days.items()} == json.loads(
            (folder / "digests.json").read_text()
        )
    else:
        assert agree([json.loads(line) for line in recorded], [json.loads(line) for line in reactions])
        pytest.skip("another kind of processor than the goldens': reactions agree to 6 digits, forecasts not compared")


@pytest.mark.parametrize("name", REPLAYS)
def test_a_replay_decides_and_forecasts_as_it_did(name: str) -> None:
    """Reactions, forecasts and scores of a recorded input are those of 6a71ff1."""
    folder = FOLDER / "replay" / name
    fleet, readings = folder / "fleet.toml", folder / "readings.jsonl.gz"
    emit = "reactions,forecasts,scores"
    hold_to(folder, starloop("replay", "--fleet", str(fleet), "--readings", str(readings), "--emit", emit))


def test_the_history_of_the_readme_gives_what_it_gave(tmp_path: Path) -> None:
    """The README's two commands: the imported lines and what is decided on them are those of 6a71ff1."""
    folder, fleet, home = FOLDER / "replay/readme", WEUSEDTO / "fleet.toml", tmp_path / "home.jsonl"
    tables = [str(WEUSEDTO / "Toilet.csv"), str(WEUSEDTO / "Dishwasher30.csv")]
    counts = ["--value", "filter_used=Toilet.csv:Flow", "--count", "tablets_used=Dishwasher30.csv"]
    rest = ["--device", "home", "--time", "Time", *counts, "--fleet", str(fleet), "--out", str(home)]
    starloop("import", "csv", *tables, *rest)
    assert hashlib.sha256(home.read_bytes()).hexdigest() == (folder / "imported.sha256").read_text().strip()
    emit = ["--emit", "reactions,forecasts,scores", "--deliver"]
    hold_to(folder, starloop("replay", "--fleet", str(fleet), "--readings", str(home), *emit))


def columns_renamed(recorded: dict[str, Any], tables: Mapping[str, Table]) -> dict[str, Any]:
    """The recorded tables under the names that they, their matrices and columns have now, by the tables' own lists of renames."""
    renamed: dict[str, Any] = {}
    for name, rows in recorded.items():
        table = next(table for table in tables.values() if name in (table.name, table.former_name))
        renamed[table.name] = {
            row: {
                spec.name: {
                    spec.renamed.get(column, column): value
                    for column, value in matrices[spec.former_name or spec.name].items()
                }
                for spec in table.matrices
            }
            for row, matrices in rows.items()
        }
    return renamed


def columns_of(blocks: dict[str, bytes]) -> dict[str, Any]:
    """Every value of the blocks: table -> row -> matrix -> column -> value, NaN as None."""
    tables: dict[str, Any] = {}
    for key, wire in blocks.items():
        if key == "meta":
            continue
        for name, stored in unpack_shard(wire).rows.items():
            for place, row in enumerate(stored.names):
                tables.setdefault(name, {})[row] = {
                    matrix: {
                        column: None if value != value else value
                        for column, value in zip(columns, values[place].tolist(), strict=True)
                    }
                    for matrix, (columns, values) in stored.matrices.items()
                }
    return tables


def test_the_analysis_of_a_world_finds_and_keeps_what_it_did() -> None:
    """Facts byte for byte, and every value of the last checkpoint, from the input log of a seeded world."""
    if not same_processor():
        pytest.skip("another kind of processor than the one that recorded the goldens")
    folder = FOLDER / "world"
    names = MemoryMetricRegistry()
    for name in json.loads((folder / "names.json").read_text()):
        names.number(name)
    log, blocks = MemoryLog(), MemoryBlocks()
    log.append(INPUT, [base64.b64decode(json.loads(line)) for line in unzipped(folder / "input.jsonl.gz").splitlines()])
    analysis = Analysis(load_catalogue(folder / "fleet.toml"), names, load_scorer("run-out"))
    SynchronousRunner(log, blocks, analysis, CHECKPOINT_POLICY).run()
    facts = [hashlib.sha256(wire).hexdigest() for wire in log.topics[FACTS]]
    assert facts == (folder / "facts.sha256").read_text().split()
    recorded = json.loads(unzipped(folder / "checkpoint.json.gz"))
    assert columns_of(shards_of_partition(blocks.blocks.items())) == columns_renamed(
        recorded["tables"], analysis.tables()
    )
