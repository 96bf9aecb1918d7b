"""The table's memory: of a block the newest counts, also where a worker that woke up too late wrote after it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faust.types import TP

from stream.state.checkpoint import is_stale, shard_key, shards_of_partition, with_offset
from stream.transports.faust_overrides.durable_table_store import DurableTableStore


class Recovering(DurableTableStore):
    """The store of a table that need not belong to an app."""

    def __init__(self, table: Any) -> None:
        self.table = table
        self.data = {}
        self._key_partition = {}
        self._changelog_offsets = {}


def same(value: Any) -> Any:
    """What comes as it is."""
    return value


def change(place: int, key: bytes, value: bytes | None) -> Any:
    """A record of the changelog."""
    message = SimpleNamespace(tp=TP("blocks", 0), offset=place, partition=0, value=value)
    return SimpleNamespace(key=key, value=value, message=message)


def test_a_late_and_older_block_does_not_replace_a_newer_one() -> None:
    """Records 0 to 3 of the changelog: the third is of a frozen worker; the fourth goes on, and a deletion still deletes."""
    key, other = shard_key("block-0"), shard_key("block-1")
    store = Recovering(SimpleNamespace(is_stale=is_stale))
    store.apply_changelog_batch(
        [
            change(0, key, with_offset(b"first", 10)),
            change(1, key, with_offset(b"second", 30)),
            change(2, key, with_offset(b"late", 20)),
            change(3, other, with_offset(b"one", 30)),
        ],
        same,
        same,
    )
    assert shards_of_partition(store.data.items()) == {"block-0": b"second", "block-1": b"one"}
    assert store.persisted_offset(TP("blocks", 0)) == 3
    store.apply_changelog_batch([change(4, key, with_offset(b"third", 30)), change(5, other, None)], same, same)
    assert shards_of_partition(store.data.items()) == {"block-0": b"third"}
