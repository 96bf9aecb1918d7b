"""What is a customer's, and what only looks like it; the state of others stays bit for bit; a store that is shared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from operations.privacy.data_locator import CustomerScope, locate_customer
from operations.privacy.erasure import _redact_facts, _redact_shard
from reactor.store.sql import SqlStore
from star.errors import InputError
from starloop.cli import cli
from stream.state.checkpoint import with_offset
from stream.state.shard_file import pack_shard, unpack_shard
from stream.state.state_table import MatrixSpec, Table
from tests.support.household import household_of

THEIRS = CustomerScope("ann", frozenset({"tank-7", "acme"}))


def test_names_are_theirs_only_where_they_are_whole() -> None:
    """Items, needs, topics and timers of their devices; not of tank-77, nor of a supplier called like a device."""
    for name in ("tank-7/oil", "tank-7/oil/3/order/1", "starloop/v1/tank-7/telemetry", "hold:tank-7/oil/3"):
        assert THEIRS.owns_name(name), name
    for name in ("tank-77/oil", "a-tank-7/oil", "tank-7", "starloop/v1/tank-77/telemetry", None):
        assert not THEIRS.owns_name(name), name
    assert THEIRS.mentions({"device": "tank-7"})
    assert THEIRS.mentions({"customer": "ann"})
    assert THEIRS.mentions([{"x": {"tank-7/oil": 1}}])
    assert not THEIRS.mentions({"supplier": "acme", "because": "ann orders", "tried": ["acme"]})


def test_a_device_is_of_the_customer_who_had_it_last() -> None:
    """One that moved to another customer is theirs no more; an unknown customer is refused with those that there are."""
    first = {"customers": [{"id": "ann"}, {"id": "bob"}], "devices": [{"id": "a", "customer": "ann"}]}
    moved = {"devices": [{"id": "a", "customer": "bob"}, {"id": "b", "customer": "ann"}]}
    assert locate_customer("ann", [first, moved]).devices == {"b"}
    with pytest.raises(InputError, match="no such customer: expected one of ann, bob"):
        locate_customer("eve", [first, moved])


def test_the_state_of_other_devices_in_a_block_stays_bit_for_bit() -> None:
    """Rows and extras of theirs are gone; a second time changes nothing; a block without them is left alone."""

    def block(*devices: str) -> bytes:
        table = Table(
            "slots",
            [
                MatrixSpec(name="m", names=("x", "y"), fill=0.0),
                MatrixSpec(name="n", names=("z",), fill=0.0, dtype="<f4"),
            ],
        )
        for place, device in enumerate(devices):
            row = table.add(f"{device}/oil", place)
            table["m"][row], table["n"][row] = (len(device) + 0.1, 2.0), 0.3
        extras = {
            "devices": {one: {"ids": [["k", 1]]} for one in devices},
            "dedup": {"late": {f"{one}/oil": [5] for one in devices}},
        }
        return pack_shard(9, sorted(devices), {"slots": (table, np.arange(len(devices)))}, extras)

    left = _redact_shard("block-0", with_offset(block("tank-7", "b", "zz"), 9), THEIRS)
    assert left == with_offset(block("b", "zz"), 9)
    assert unpack_shard(left[8:]).rows["slots"][0] == ("b/oil", "zz/oil")
    assert _redact_shard("block-0", left, THEIRS) is left


def test_facts_keep_what_others_did() -> None:
    """Events, refills and needs of theirs leave the lists, rows of a fleet's change too; offset and time stay."""
    change = {"at_ms": 1, "tables": json.dumps({"customers": [{"id": "ann"}, {"id": "bob"}]})}
    body = {
        "offset": 4,
        "at_ms": 1,
        "events": [["Q", {"item": "tank-7/oil"}], ["Q", {"item": "b/oil"}], ["F", change]],
        "refills": [{"item": "tank-7/oil"}],
        "needs": [{"item": "b/oil"}],
    }
    left = json.loads(_redact_facts(json.dumps(body).encode(), THEIRS))
    assert left["offset"] == 4
    assert [letter for letter, _ in left["events"]] == ["Q", "F"]
    assert json.loads(left["events"][1][1]["tables"]) == {"customers": [{"id": "bob"}]}
    assert left["refills"] == []
    assert left["needs"] == [{"item": "b/oil"}]


def test_in_a_cluster_the_store_forgets_and_what_kafka_keeps_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs, receipts, reactions and the fleet's rows are gone from the store; the log's retention is named."""
    monkeypatch.setenv("STARLOOP_LOG", "kafka://127.0.0.1:1")
    url = f"sqlite:///{tmp_path / 'store.db'}"
    home = household_of()
    with SqlStore(url) as store:
        home.sees(8.0).tick()
        store.commit(home.steps[-1], home.engine.catalogue)
        tables = {"customers": [{"id": "maria"}], "devices": [{"id": "tank-7", "customer": "maria"}]}
        store.fleet.insert_base(tables, 0)
    out = tmp_path / "maria.zip"
    done = CliRunner().invoke(cli, ["export", "maria", "--data", str(tmp_path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "not included: the log, which is in Kafka" in done.stdout
    done = CliRunner().invoke(cli, ["erase", "maria", "--data", str(tmp_path), "--yes"])
    assert done.exit_code == 0, done.output
    assert "records expire by age (400 days" in done.stdout
    with SqlStore(url) as store:
        assert store.reactions() == []
        assert store.needs() == []
        assert store.fleet.base() == {"customers": [], "devices": []}
    assert b"tank-7" not in (tmp_path / "store.db").read_bytes()
